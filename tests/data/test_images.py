"""Decoding: every mode of PNG and JPEG, and bytes that are neither."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from samples import encoded, picture

from cnn_jax.data.images import Images, decode, resize


def saved(image: Image.Image, kind: str = "png", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_png_pixels_come_back_exactly(shape):
    pixels = picture(0, *shape)
    assert np.array_equal(decode("x", encoded(pixels)), pixels.reshape(6, 5, -1))


@pytest.mark.parametrize(("shape", "channels"), [((16, 16), 1), ((16, 16, 3), 3)])
def test_jpeg_is_decoded_as_grey_or_colour(shape, channels):
    flat = np.full(shape, 130, np.uint8)
    found = decode("x", encoded(flat, "jpeg"))
    assert found.shape == (16, 16, channels)
    assert np.abs(found.astype(int) - 130).max() <= 2


def test_sixteen_bits_become_eight_by_rounding():
    deep = np.array([[0, 128, 129, 257], [32767, 32896, 65406, 65535]], np.uint16)
    expected = np.round(deep / 257).astype(np.uint8)
    assert np.array_equal(decode("x", encoded(deep))[..., 0], expected)


def test_one_bit_becomes_black_and_white():
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    assert decode("x", saved(image))[..., 0].tolist() == [[0, 255], [255, 0]]


def test_palettes_become_their_colours_and_grey_ones_grey():
    colour = Image.new("P", (2, 1))
    colour.putpalette([10, 20, 30, 40, 50, 60])
    colour.putpixel((1, 0), 1)
    assert decode("x", saved(colour)).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    colour.putpalette([7, 7, 7, 9, 9, 9])
    assert decode("x", saved(colour)).tolist() == [[[7], [9]]]
    assert decode("x", saved(colour, transparency=0)).tolist() == [[[255], [9]]]


def test_transparency_is_flattened_over_white():
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    expected = [[[200, 100, 0], [255, 255, 255], [244, 224, 204]]]  # 255 + (v - 255) * 51 / 255
    assert decode("x", encoded(rgba)).tolist() == expected
    la = np.array([[[200, 255], [200, 0]]], np.uint8)
    assert decode("x", encoded(la)).tolist() == [[[200], [255]]]


def test_resizing_is_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    found = resize(stripes, (8, 8, "squash"))
    assert found.shape == (8, 8, 1)
    assert np.abs(found[:, 1:-1].astype(int) - 127).max() <= 20  # not 0 or 255, as without antialiasing


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8_000, 11_000, 60_000])
def test_decompression_bombs_are_refused_before_decoding(side, refuses, recwarn):
    with refuses("bomb.png", "the limit is 50000000"):
        decode("bomb.png", png_header(side, side))
    assert not recwarn


noise = encoded(picture(2, 40, 40, 3), "jpeg")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"this is text", "neither a JPEG nor a PNG"),
        (b"", "neither a JPEG nor a PNG"),
        (noise[: len(noise) // 2], "broken image"),
        (encoded(picture(2))[:60], "broken image"),
        (png_header(100, 100), "broken image"),
        (saved(Image.new("RGB", (4, 4)), "gif"), "neither a JPEG nor a PNG"),
        (saved(Image.new("RGB", (4, 4)), "tiff"), "neither a JPEG nor a PNG"),
    ],
)
def test_other_bytes_are_refused(data, what, refuses):
    with refuses("dir/x.png", what):
        decode("dir/x.png", data)


def test_more_images_than_memory_holds_are_refused(refuses):
    with refuses("x.png", "GiB", "--image-size"):
        Images(10**9).add("x.png", picture(0, 100, 100, 3))
