"""PNG files of samples of any depth, which Pillow cannot write, and Exif blocks, by the specifications alone."""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
KINDS = [
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((colour, depth) for colour in (RGB, GREY_ALPHA, RGB_ALPHA) for depth in (8, 16)),
]
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each chunk of a whole PNG."""
    found, place = [], len(SIGNATURE)
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        found.append((kind, data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def png(samples, depth, colour, *, plte=b"", trns=None, interlaced=False, before=(), middle=(), after=()) -> bytes:
    """Of samples [H,W] or [H,W,C]; `before`, `middle` and `after` are chunks around its two of pixels."""
    samples = np.asarray(samples).reshape(*np.shape(samples)[:2], CHANNELS[colour])
    height, width = samples.shape[:2]
    if interlaced:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7]
    else:
        parts = [samples]
    lines = b"".join(_lines(part, depth) for part in parts if part.size)
    half = len(compressed := zlib.compress(lines)) // 2
    return b"".join(
        [
            SIGNATURE,
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)),
            *([chunk(b"PLTE", plte)] if plte else []),
            *([chunk(b"tRNS", trns)] if trns is not None else []),
            *before,
            chunk(b"IDAT", compressed[:half]),
            *middle,
            chunk(b"IDAT", compressed[half:]),
            *after,
            chunk(b"IEND"),
        ]
    )


def _lines(samples: np.ndarray, depth: int) -> bytes:
    """Filtered scanlines, with the filters None, Sub and Up in turn."""
    height, _, channels = samples.shape
    flat = samples.reshape(height, -1)
    if depth == 16:
        rows = flat.astype(">u2").view(np.uint8)
    else:
        bits = np.unpackbits(flat.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    step = max(1, channels * depth // 8)
    lines = []
    for y, row in enumerate(rows):
        left = np.concatenate([np.zeros(step, np.uint8), row[:-step]])
        up = rows[y - 1] if y else np.zeros_like(row)
        kind = y % 3
        lines.append(
            bytes([kind]) + (row - [np.zeros_like(row), left[: len(row)], up][kind]).astype(np.uint8).tobytes()
        )
    return b"".join(lines)


def exif(orientation: int, order: str = "<", kind: int = 3, count: int = 1) -> bytes:
    """A TIFF block with a date, the orientation and a resolution."""
    entries = [
        struct.pack(f"{order}HHII", 0x0132, 2, 20, 0),
        struct.pack(f"{order}HHIHH", 0x0112, kind, count, orientation, 0),
        struct.pack(f"{order}HHII", 0x011A, 5, 1, 0),
    ]
    mark = {"<": b"II", ">": b"MM"}[order]
    return mark + struct.pack(f"{order}HIH", 42, 8, len(entries)) + b"".join(entries) + bytes(4)


def with_segments(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """The JPEG with these (marker, content) right behind its start."""
    added = b"".join(b"\xff" + bytes([marker]) + struct.pack(">H", len(c) + 2) + c for marker, c in segments)
    return jpeg[:2] + added + jpeg[2:]
