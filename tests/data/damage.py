"""Damage to the bytes of images and zips, drawn from a seeded generator: blind (bits, cuts, copied or blanked ranges,
extreme numbers) and informed (a PNG's chunks with valid checksums, a JPEG's segments, a zip's headers)."""

import struct

import numpy as np
from pngs import SIGNATURE, chunk, chunks_of

EXTREMES = [bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x00\x00\x00\x01", b"\x01\x00\x00\x00", b"\xff\xd9\xff\xda"]
CHUNK_KINDS = [
    *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"acTL", b"fcTL", b"fdAT"),
    *(b"pHYs", b"sRGB", b"cHRM", b"IEND", b"xxxx", b"\xff\0\xfe\x80"),
]


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """`data` with one to three kinds of damage."""
    informed = _png if data.startswith(SIGNATURE) else _jpeg if data.startswith(b"\xff\xd8") else _zip
    for _ in range(random.integers(1, 4)):
        if len(data) > 12:
            data = _damage(data, random, informed)
    return data


def _damage(data, random, informed) -> bytes:
    kind = random.integers(6)
    if kind == 0:
        return _flipped(data, random)
    if kind == 1:
        return data[: random.integers(len(data))]
    if kind == 2:  # a range is copied, taken out or blanked
        start, length, to = random.integers(len(data)), random.integers(1, 40), random.integers(len(data))
        part = data[start : start + length]
        return [data[:to] + part + data[to:], data[:start] + data[start + length :],
                data[:start] + bytes(len(part)) + data[start + length :]][random.integers(3)]  # fmt: skip
    if kind == 3:
        return _overwritten(data, random.integers(len(data)), random)
    return informed(data, random)


def _flipped(data, random) -> bytes:
    changed = bytearray(data)
    for place in random.integers(len(data), size=random.integers(1, 9)):
        changed[place] ^= 1 << random.integers(8)
    return bytes(changed)


def _overwritten(data, place, random) -> bytes:
    value = EXTREMES[random.integers(len(EXTREMES))][: random.integers(1, 5)]
    return data[:place] + value + data[place + len(value) :]


def _png(data, random) -> bytes:
    """Chunks changed, dropped, doubled, swapped, put in, all with valid checksums, which let the damage through."""
    try:
        chunks = chunks_of(data)
    except struct.error:  # damaged already
        return _flipped(data, random)
    at, other = random.integers(len(chunks), size=2)
    kind, content = chunks[at]
    choice = random.integers(6)
    if choice == 0:
        del chunks[at]
    elif choice == 1:
        chunks.insert(other, chunks[at])
    elif choice == 2:
        chunks[at], chunks[other] = chunks[other], chunks[at]
    elif choice == 3:
        chunks.insert(other, (CHUNK_KINDS[random.integers(len(CHUNK_KINDS))], random.bytes(random.integers(60))))
    elif choice == 4 and content:
        chunks[at] = kind, _flipped(content, random)
    else:
        chunks[at] = kind, _overwritten(content, random.integers(len(content) + 1), random)
    return SIGNATURE + b"".join(chunk(*each) for each in chunks)


def _jpeg(data, random) -> bytes:
    """A marker, a length or the first bytes of a segment before the scan."""
    places = [i for i in range(2, min(len(data), 2000) - 8) if data[i] == 0xFF and data[i + 1] not in (0x00, 0xFF)]
    if not places:
        return _flipped(data, random)
    place = places[random.integers(len(places))] + random.integers(1, 8)
    if random.integers(2):
        return _overwritten(data, place, random)
    return data[:place] + random.bytes(1) + data[place + 1 :]


def _zip(data, random) -> bytes:
    """A field of a header: versions, flags, methods, sizes, offsets, lengths of names, attributes, names."""
    places = [i for i in range(len(data) - 4) if data[i : i + 4] in (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06")]
    if not places:
        return _flipped(data, random)
    place = places[random.integers(len(places))] + random.integers(4, 60)
    if random.integers(2):
        return _overwritten(data, place, random)
    return data[:place] + random.bytes(2) + data[place + 2 :]
