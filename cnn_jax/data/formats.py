"""Parses PNG and JPEG files down to, but not including, their pixels: the parts they have and their orientation.

Parts that do not affect the pixels (text, colour profiles, thumbnails, animation) are not passed to the decoder: they
are where decoders fail, and nothing here uses them.

Sources: PNG, third edition (W3C 2025), sections 5, 11.2 and 11.3; JPEG, ITU-T T.81, annex B; Exif 2.32 (CIPA DC-008),
section 4.6.2 and tag 274.
"""

import struct
import zlib
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8\xff"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # the colour types of PNG
DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}
TRANSPARENT_SIZES = {GREY: (2,), RGB: (6,), PALETTE: range(257)}  # of tRNS, in bytes

ALONE = {0x01, *range(0xD0, 0xD9)}  # JPEG markers without a segment: TEM, RST0 to RST7, SOI
SCAN, END, EXIF = 0xDA, 0xD9, 0xE1
# APP0 (JFIF) and APP14 (Adobe) say what the colours mean; the other application segments and comments do not.
LEFT_OUT = {*range(0xE1, 0xEE), 0xEF, 0xFE}
ORIENTATION, SHORT = 0x0112, 3


@dataclass(frozen=True)
class Jpeg:
    """`data` is the JPEG without metadata, `orientation` the Exif orientation, 1 to 8."""

    data: bytes
    orientation: int


@dataclass(frozen=True)
class Png:
    """`pixels` is the content of all IDAT, `depth` the bits per sample, `colour` the PNG colour type, `palette` and
    `transparency` the contents of PLTE and tRNS, `orientation` the Exif orientation, 1 to 8."""

    pixels: bytes
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    palette: bytes
    transparency: bytes | None
    orientation: int


def read_png(data: bytes) -> Png:
    """Raises ValueError for a truncated chunk, a wrong checksum, or an invalid header, palette or transparency."""
    chunks: dict[bytes, bytes] = {}
    pixels = []
    place = len(PNG_SIGNATURE)
    while b"IEND" not in chunks:
        if place + 12 > len(data):
            raise ValueError("it ends before its last chunk")
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            raise ValueError(f"its chunk {_name(kind)} is cut off")
        if zlib.crc32(memoryview(data)[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise ValueError(f"wrong checksum of its chunk {_name(kind)}")
        if (kind == b"IHDR") != (not chunks):
            raise ValueError("its header is not its first chunk")
        content = data[place + 8 : end - 4]
        if kind == b"IDAT":
            pixels.append(content)
        chunks.setdefault(kind, content)
        place = end
    header, palette = chunks[b"IHDR"], chunks.get(b"PLTE", b"")
    fields = struct.unpack(">IIBBBBB", header) if len(header) == 13 else (0,) * 7
    width, height, depth, colour, _, filtering, interlacing = fields
    if not width * height or depth not in DEPTHS.get(colour, ()) or filtering:
        raise ValueError("its header is invalid")
    if colour == PALETTE and (not palette or len(palette) % 3 or len(palette) > 3 * 256):
        raise ValueError(f"a palette of {len(palette)} bytes")
    transparency = chunks.get(b"tRNS") if colour in TRANSPARENT_SIZES else None
    if transparency is not None and len(transparency) not in TRANSPARENT_SIZES[colour]:
        raise ValueError(f"a transparency of {len(transparency)} bytes")
    orientation = _orientation(chunks.get(b"eXIf", b""))
    return Png(b"".join(pixels), width, height, depth, colour, interlacing > 0, palette, transparency, orientation)


def read_jpeg(data: bytes) -> Jpeg:
    """Raises ValueError if the file ends before its first scan."""
    parts, exif = [data[:2]], b""
    place = 2
    while True:
        place = data.find(b"\xff", place)  # bytes between segments are skipped, as decoders do
        if place < 0 or place + 4 > len(data):
            raise ValueError("it ends before its pixels")
        marker = data[place + 1]
        if marker == SCAN:
            parts.append(data[place:])
            return Jpeg(b"".join(parts), _orientation(exif))
        if marker == END:
            raise ValueError("it has no pixels")
        if marker in (0x00, 0xFF):
            place += 1
        elif marker in ALONE:
            place += 2
        else:
            end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
            if marker not in LEFT_OUT:
                parts.append(data[place:end])
            elif marker == EXIF and data.startswith(b"Exif\0\0", place + 4):
                exif = exif or data[place + 4 : end]
            place = max(end, place + 4)


def _name(kind: bytes) -> str:
    return repr(kind)[2:-1]


def _orientation(exif: bytes) -> int:
    """The orientation, or 1 (upright) if Exif is damaged or states none, as in image viewers."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for index in range(entries):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * index)
            if tag == ORIENTATION:
                return value if (kind, count) == (SHORT, 1) and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
