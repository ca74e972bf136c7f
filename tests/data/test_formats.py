"""PNG of every depth, kind of transparency and interlacing; Exif's orientation; chunks that are broken."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pngs import GREY, GREY_ALPHA, KINDS, PALETTE, RGB, RGB_ALPHA, chunk, exif, png, with_segments
from samples import encoded, picture

from cnn_jax.data.images import decode
from cnn_jax.errors import RequestError

PLTE = bytes([10, 20, 30, 200, 100, 0, 7, 7, 7])
U16 = struct.Struct(">H").pack


@pytest.mark.parametrize(
    ("samples", "depth", "colour", "options", "expected"),
    [
        # The transparent sample is the one of this very value, before it is widened to 8 bits.
        ([[0, 1]], 1, GREY, {"trns": U16(0)}, [[[255], [255]]]),
        ([[0, 1]], 1, GREY, {"trns": U16(1)}, [[[0], [255]]]),
        ([[0, 1, 2, 3]], 2, GREY, {"trns": U16(1)}, [[[0], [255], [170], [255]]]),
        ([[0, 5, 10, 15]], 4, GREY, {"trns": U16(10)}, [[[0], [85], [255], [255]]]),
        ([[7, 8]], 8, GREY, {"trns": U16(0x0107)}, [[[255], [8]]]),  # bits above the depth are to be ignored
        ([[0, 1, 2, 3]], 2, GREY, {"trns": U16(0xFFFE)}, [[[0], [85], [255], [255]]]),
        # 257 and 258 are both 1 in 8 bits, and only one of them is transparent.
        ([[0, 257, 258, 65535]], 16, GREY, {"trns": U16(257)}, [[[0], [255], [1], [255]]]),
        ([[[1, 2, 3], [1, 2, 4]]], 8, RGB, {"trns": struct.pack(">3H", 1, 2, 3)}, [[[255] * 3, [1, 2, 4]]]),
        (
            [[[257, 514, 771], [257, 514, 772]]],
            16,
            RGB,
            {"trns": struct.pack(">3H", 257, 514, 771)},
            [[[255] * 3, [1, 2, 3]]],
        ),
        # 0.2 * 200 + 0.8 * 255 = 244, 0.2 * 100 + 0.8 * 255 = 224, 0.2 * 0 + 0.8 * 255 = 204
        ([[[200, 51], [200, 0], [200, 255]]], 8, GREY_ALPHA, {}, [[[244], [255], [200]]]),
        ([[[51400, 13107], [51400, 0], [51400, 65535]]], 16, GREY_ALPHA, {}, [[[244], [255], [200]]]),
        ([[[200, 100, 0, 51], [9, 8, 7, 255]]], 8, RGB_ALPHA, {}, [[[244, 224, 204], [9, 8, 7]]]),
        ([[[51400, 25700, 0, 13107], [2313, 2056, 1799, 65535]]], 16, RGB_ALPHA, {}, [[[244, 224, 204], [9, 8, 7]]]),
        # 128.4 and 128.6 in units of 8 bits: 16 bits of colour are rounded as those of grey are
        ([[[32999, 33050, 0]]], 16, RGB, {}, [[[128, 129, 0]]]),
        # (1/2)(0) + (1/2)(255) = 127.49, which is 127 rounded once and 128 where alpha is made 8 bits first
        ([[[0, 32769]]], 16, GREY_ALPHA, {}, [[[127]]]),
        ([[0, 1]], 1, PALETTE, {"plte": PLTE, "trns": bytes([255, 51])}, [[[10, 20, 30], [244, 224, 204]]]),
        ([[0, 1]], 2, PALETTE, {"plte": PLTE, "trns": bytes([0])}, [[[255] * 3, [200, 100, 0]]]),
        ([[0, 1]], 4, PALETTE, {"plte": PLTE, "trns": bytes([255, 51])}, [[[10, 20, 30], [244, 224, 204]]]),
        ([[2, 2]], 4, PALETTE, {"plte": PLTE, "trns": bytes([0, 0, 51])}, [[[205], [205]]]),  # 0.2 * 7 + 204
        ([[0, 1, 2]], 8, PALETTE, {"plte": PLTE}, [[[10, 20, 30], [200, 100, 0], [7, 7, 7]]]),
    ],
)
def test_transparency_and_depth_by_hand(samples, depth, colour, options, expected):
    assert decode("x", png(samples, depth, colour, **options)).tolist() == expected
    assert decode("x", png(samples, depth, colour, interlaced=True, **options)).tolist() == expected


@given(st.data(), st.sampled_from(KINDS), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_kind_of_png_is_what_the_specification_says_in_float64(data, kind, interlaced, transparent):
    """PNG, third edition, 13.12 (sample depths rescaled linearly), 13.15 (composition), over white, rounded once."""
    colour, depth = kind
    most = (1 << depth) - 1
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    height, width = random.integers(1, 20, 2)
    channels = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}[colour]
    values = random.integers(0, most + 1, random.integers(1, 6))  # few, so that some are the transparent one
    samples = random.choice(values, (height, width, channels))
    options = {}
    if colour == PALETTE:
        table = random.integers(0, 256, (most + 1, 3))
        options["plte"] = table.astype(np.uint8).tobytes()
        light = table[samples[..., 0]] / 255
        alphas = np.full(most + 1, 255)
        if transparent:
            listed = random.integers(0, 256, random.integers(1, most + 2))
            alphas[: len(listed)] = listed
            options["trns"] = listed.astype(np.uint8).tobytes()
        alpha = alphas[samples[..., 0]] / 255
    elif colour in (GREY, RGB):
        light, alpha = samples / most, np.ones((height, width))
        if transparent:
            key = samples[0, 0]
            options["trns"] = key.astype(">u2").tobytes()
            alpha = 1 - (samples == key).all(-1)
    else:
        light, alpha = samples[..., :-1] / most, samples[..., -1] / most
    expected = np.rint(255 * (light * alpha[..., None] + 1 - alpha[..., None]))
    found = decode("x", png(samples, depth, colour, interlaced=interlaced, **options))
    assert found.dtype == np.uint8
    if found.shape[2] < expected.shape[2]:  # a palette whose colours here are all grey
        assert colour == PALETTE
        assert (expected == expected[..., :1]).all()
        expected = expected[..., :1]
    np.testing.assert_array_equal(found, expected)


def test_opaque_png_is_what_pillow_decodes():
    for colour, depth, mode in ((GREY, 8, "L"), (RGB, 8, "RGB"), (GREY, 4, "L"), (GREY, 1, "L")):
        samples = picture(colour + depth, 9, 7, *([3] * (colour == RGB))) >> 8 - depth
        for interlaced in (False, True):
            data = png(samples, depth, colour, interlaced=interlaced)
            expected = np.asarray(Image.open(io.BytesIO(data)).convert(mode)).reshape(9, 7, -1)
            assert np.array_equal(decode("x", data), expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("options", [{}, {"progressive": True, "icc_profile": b"x" * 70_000, "dpi": (72, 72)}])
def test_jpeg_without_its_metadata_is_what_pillow_decodes(mode, options):
    file = io.BytesIO()
    Image.fromarray(picture(1, 40, 30, 3)).convert(mode).save(file, "jpeg", comment=b"x", exif=exif(1), **options)
    expected = np.asarray(Image.open(file).convert("L" if mode == "L" else "RGB"))
    assert np.array_equal(decode("x", file.getvalue()), expected.reshape(40, 30, -1))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_jpeg_even_a_damaged_one_is_what_pillow_decodes_or_refused(data):
    height, width = data.draw(st.tuples(st.integers(9, 70), st.integers(9, 70)))
    sampling = data.draw(st.sampled_from(["4:4:4", "4:2:2", "4:2:0", None]))
    options = {
        **({"subsampling": sampling} if sampling else {"keep_rgb": True}),
        "quality": data.draw(st.integers(1, 95)),
        "progressive": data.draw(st.booleans()),
        "restart_marker_blocks": data.draw(st.sampled_from([0, 1, 3])),
    }
    shape = (height, width, *data.draw(st.sampled_from([(), (3,)])))
    file = bytearray(encoded(picture(data.draw(st.integers(0, 9)), *shape), "jpeg", **options))
    for _ in range(data.draw(st.integers(0, 2))):
        file[data.draw(st.integers(3, len(file) - 1))] ^= data.draw(st.integers(1, 255))
    file = bytes(file[: data.draw(st.sampled_from([len(file), len(file) - 9]))])
    try:
        image = Image.open(io.BytesIO(file))
        if image.getexif() or image.format != "JPEG":
            return
        expected = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    except Exception:  # what Pillow refuses is refused, or was broken in its metadata, which are left out
        expected = None
    try:
        found = decode("x", file)
    except RequestError:
        assert expected is None
    else:
        assert expected is None or np.array_equal(found, expected.reshape(*expected.shape[:2], -1))


UPRIGHT = np.array([[10, 20, 30], [40, 50, 60]])
STORED = {  # which side of the picture the first row and the first column are (Exif 2.32, tag 274)
    1: [[10, 20, 30], [40, 50, 60]],  # top, left
    2: [[30, 20, 10], [60, 50, 40]],  # top, right
    3: [[60, 50, 40], [30, 20, 10]],  # bottom, right
    4: [[40, 50, 60], [10, 20, 30]],  # bottom, left
    5: [[10, 40], [20, 50], [30, 60]],  # left, top
    6: [[30, 60], [20, 50], [10, 40]],  # right, top
    7: [[60, 30], [50, 20], [40, 10]],  # right, bottom
    8: [[40, 10], [50, 20], [60, 30]],  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_png_stands_as_its_exif_says(orientation, order):
    block = chunk(b"eXIf", exif(orientation, order))
    for place in ("before", "after"):
        data = png(STORED[orientation], 8, GREY, **{place: [block]})
        assert decode("x", data)[..., 0].tolist() == UPRIGHT.tolist()
    stored, upright = (np.stack([grey, grey, np.subtract(grey, 1)], 2) for grey in (STORED[orientation], UPRIGHT))
    assert decode("x", png(stored, 8, RGB, before=[block])).tolist() == upright.tolist()


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("shape", [(16, 24), (24, 16, 3)])
def test_a_jpeg_stands_as_pillow_turns_it(orientation, shape):
    plain = encoded(picture(orientation, *shape), "jpeg", quality=95)
    for order in "<>":
        xmp = (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")  # a second APP1, which is not Exif
        data = with_segments(plain, xmp, (0xE1, b"Exif\0\0" + exif(orientation, order)), (0xFE, b"a comment"))
        image = Image.open(io.BytesIO(plain))
        image.getexif()[0x0112] = orientation
        expected = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(decode("x", data), expected.reshape(*expected.shape[:2], -1))
    assert (decode("x", data).shape[0] == shape[0]) == (orientation < 5)


def test_the_orientation_comes_before_the_size():
    wide = png(np.tile(np.array(STORED[6]), (4, 4)), 8, GREY, before=[chunk(b"eXIf", exif(6))])
    upright = png(np.tile(UPRIGHT, (4, 4)), 8, GREY)
    assert np.array_equal(decode("x", wide, (5, 4, "crop")), decode("x", upright, (5, 4, "crop")))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"II",
        b"Exif\0\0",
        exif(6)[:20],
        exif(0),
        exif(9),
        exif(6, kind=2),
        exif(6, count=2),
        b"XX" + exif(6)[2:],
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
    ],
    ids=lambda block: f"{len(block)} bytes",
)
def test_exif_that_states_no_orientation_or_is_damaged_leaves_the_image_as_it_is(block, recwarn):
    assert decode("x", png(STORED[1], 8, GREY, before=[chunk(b"eXIf", block)]))[..., 0].tolist() == UPRIGHT.tolist()
    plain = encoded(picture(0, 8, 16), "jpeg")
    assert np.array_equal(decode("x", with_segments(plain, (0xE1, b"Exif\0\0" + block))), decode("x", plain))
    assert not recwarn


def broken(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + b"tEXt" + content + bytes(4)


GOOD = picture(3, 5, 4)
AFTER = {
    "a wrong checksum": ([broken(b"k\0v")], "wrong checksum of its chunk tEXt"),
    "a length beyond the end": ([struct.pack(">I", 10**6) + b"tEXt"], "its chunk tEXt is cut off"),
    "a name of no letters": ([chunk(b"\xff\xfe\x00\x01")], None),
    "compressed text that is none": ([chunk(b"zTXt", b"k\0\0garbage")], None),
    "international text cut short": ([chunk(b"iTXt", b"k")], None),
    "a colour profile that is none": ([chunk(b"iCCP", b"")], None),
    "transparency behind the pixels": ([chunk(b"tRNS", b"")], "transparency of 0 bytes"),
    "an animation that is none": ([chunk(b"acTL", b""), chunk(b"fcTL", b"\0"), chunk(b"fdAT", b"")], None),
    "a second header": ([chunk(b"IHDR", bytes(13))], "its header is not its first chunk"),
}


@pytest.mark.parametrize("case", AFTER)
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_broken_chunk_names_the_file_and_one_that_is_not_read_does_no_harm(case, place, refuses, recwarn):
    chunks, what = AFTER[case]
    data = png(GOOD, 8, GREY, **{place: chunks})
    if what is None:
        assert np.array_equal(decode("dir/x.png", data)[..., 0], GOOD)
    else:
        with refuses("dir/x.png: broken image: ", what):
            decode("dir/x.png", data)
    assert not recwarn


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (png(GOOD, 8, GREY)[:-12], "it ends before its last chunk"),
        (png(GOOD, 8, GREY)[:60], "its chunk IDAT is cut off"),
        (png([[0]], 8, PALETTE), "a palette of 0 bytes"),
        (png([[0]], 8, PALETTE, plte=b"1234"), "a palette of 4 bytes"),
        (png(GOOD, 8, GREY).replace(b"IHDR", b"IHDX"), "wrong checksum of its chunk IHDX"),
        (
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 3, 0, 0, 0, 0)) + chunk(b"IEND"),
            "header",
        ),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND"), "header is not its first"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"short") + chunk(b"IEND"), "header"),
        (png(np.zeros((0, 3)), 8, GREY), "its header is invalid"),
        (b"\xff\xd8\xff", "ends before its pixels"),
        (b"\xff\xd8\xff\xd9\0\0", "no pixels"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_other_broken_files_are_one_line(data, what, refuses):
    with refuses("dir/x.png: ", what):
        decode("dir/x.png", data)


ANYTHING = [struct.error, zlib.error, AssertionError, IndexError, KeyError, MemoryError, NotImplementedError, Exception]


@pytest.mark.parametrize("kind", ANYTHING)
def test_whatever_a_decoder_raises_names_the_file(kind, refuses, monkeypatch):
    def fail(*args):
        raise kind("two\nlines")

    for decoder in ("PIL.Image.frombytes", "simplejpeg.decode_jpeg_header", "PIL.ImageFile.ImageFile.load"):
        monkeypatch.setattr(decoder, fail)
    for data in (png(GOOD, 8, GREY), encoded(GOOD, "jpeg")):
        with refuses("dir/x: broken image: ", "two"):
            decode("dir/x", data)


def test_an_exception_without_words_is_called_by_its_type(refuses, monkeypatch):
    def fail(*args):
        raise EOFError

    monkeypatch.setattr("PIL.Image.frombytes", fail)
    with refuses("dir/x: broken image: EOFError"):
        decode("dir/x", png(GOOD, 8, GREY))
