"""Encoded or decoded images of any kind -> one uint8 array, grey if all are grey, at one size."""

import io
import os
import re
from typing import IO, Any

import numpy as np

from cnn_jax.data.formats import (
    GREY,
    GREY_ALPHA,
    JPEG_START,
    PALETTE,
    PNG_SIGNATURE,
    RGB,
    RGB_ALPHA,
    Jpeg,
    Png,
    read_jpeg,
    read_png,
)
from cnn_jax.errors import DataError, RequestError, quote, reason

MAX_PIXELS = 50_000_000  # of one image: what a large camera makes; anything above is taken for a decompression bomb
BLOCK = 1 << 18  # pixels composed at once
Size = tuple[int, int, str]  # height, width and one of RESIZES
RESIZES = ("squash", "fit", "crop")  # to the shape itself, inside of it with black borders, around it and cut

# Pillow gives 8 bits of the 16 of a sample: the first under one of these names, the second under the other.
HALVES = {RGB: ("RGB;16B", "RGB;16L"), RGB_ALPHA: ("RGBA;16B", "RGBA;16L")}


def is_image(head: bytes) -> bool:
    """Whether a file with these first bytes is a PNG or a JPEG."""
    return head.startswith((PNG_SIGNATURE, JPEG_START))


def decode(name: str, data: bytes, size: Size | None = None) -> np.ndarray:
    """uint8 [H,W,1] of a grey, [H,W,3] of a colour JPEG or PNG, resized where a size is given.

    It stands as Exif's orientation says. 16 bits become 8 by rounding, palettes become their colours (grey if all are),
    transparency of any kind is composed over white.

    DataError, whatever is wrong: not a whole JPEG or PNG, more than MAX_PIXELS.
    """
    try:
        if data.startswith(PNG_SIGNATURE):
            png = read_png(data)
            upright = _turned(_png(png), png.orientation)
        elif data.startswith(JPEG_START):
            jpeg = read_jpeg(data)
            upright = _turned(_jpeg(jpeg), jpeg.orientation)
        else:
            raise DataError("neither a JPEG nor a PNG image")
        return resize(upright, size)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # of any type: what Pillow raises for broken files is not a closed list
        raise DataError(f"{name}: broken image: {reason(error)}") from error


def _jpeg(jpeg: Jpeg) -> np.ndarray:
    from PIL import JpegImagePlugin

    with JpegImagePlugin.JpegImageFile(io.BytesIO(jpeg.data)) as image:
        _check_pixels(image)
        return np.asarray(image if image.mode == "L" else image.convert("RGB"))


def _png(png: Png) -> np.ndarray:
    """uint8 [H,W] or [H,W,3]."""
    most = 65535 if png.depth == 16 else 255  # of a sample; Pillow widens samples of fewer bits
    samples = _samples(png)
    alpha: np.ndarray | None = None
    if png.colour == PALETTE:
        samples, alpha = _coloured(samples, png)
    elif png.colour in (GREY_ALPHA, RGB_ALPHA):
        samples, alpha = samples[..., :-1], samples[..., -1:]
    elif png.transparency is not None:
        largest = (1 << png.depth) - 1
        key = np.frombuffer(png.transparency, ">u2", samples.shape[2]) & largest  # its other bits are to be ignored
        alpha = np.where((samples == key * (most // largest)).all(2, keepdims=True), 0, most)
    if most == 255 and alpha is None:
        return samples
    return _over_white(samples, alpha, most)


def _samples(png: Png) -> np.ndarray:
    """[H,W,channels]: uint16 for 16 bits, else uint8; for a palette the index of each pixel's colour."""
    if png.depth < 16:
        pixels = _raw(png, None)
        pixels = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels
    elif png.colour == GREY:
        pixels = _raw(png, None).astype(np.uint16)
    elif png.colour == GREY_ALPHA:  # as if these were the four bytes of a pixel of 8-bit RGBA
        pixels = np.ascontiguousarray(_raw(png, "RGBA")).view(">u2")
    else:
        first, second = HALVES[png.colour]
        pixels = _raw(png, first).astype(np.uint16)
        pixels <<= 8
        pixels |= _raw(png, second)
    return pixels.reshape(*pixels.shape[:2], -1)


def _raw(png: Png, rawmode: str | None) -> np.ndarray:
    """What Pillow decodes; its own conversions keep 8 of 16 bits and compare transparent colours wrongly."""
    from PIL import PngImagePlugin

    with PngImagePlugin.PngImageFile(io.BytesIO(png.data)) as image:
        _check_pixels(image)
        if rawmode:
            image.tile = [tile._replace(args=rawmode) for tile in image.tile]
        return np.asarray(image)


def _check_pixels(image: Any) -> None:
    if not 0 < image.width * image.height <= MAX_PIXELS:
        raise DataError(f"{image.width}x{image.height} pixels: the limit is {MAX_PIXELS}")


def _coloured(indices: np.ndarray, png: Png) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours [H,W,1 or 3] and, where there is any transparency, alpha [H,W,1] of the indices into a palette [H,W,1].
    An index beyond the palette is black."""
    colours, alphas = np.zeros((256, 3), np.uint8), np.full(256, 255, np.uint8)
    entries = np.frombuffer(png.palette, np.uint8).reshape(-1, 3)
    colours[: len(entries)] = entries
    pixels = colours[indices[..., 0]]
    if (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    if png.transparency is None:
        return pixels, None
    entries = np.frombuffer(png.transparency, np.uint8)
    alphas[: len(entries)] = entries
    return pixels, alphas[indices]


def _over_white(samples: np.ndarray, alpha: np.ndarray | None, most: int) -> np.ndarray:
    """Samples of 0..most [H,W,C] over a white background by alpha of 0..most [H,W,1], as 8 bits, rounded once."""
    flat = samples.reshape(-1, samples.shape[2])
    opacity = np.broadcast_to(most, (len(flat), 1)) if alpha is None else alpha.reshape(-1, 1)
    composed = np.empty(flat.shape, np.uint8)
    wide = np.uint32 if most == 255 else np.uint64  # holds 255 * most²
    for start in range(0, len(flat), BLOCK):
        block = slice(start, start + BLOCK)
        weight = opacity[block].astype(wide)
        light = most * (most - weight) + flat[block] * weight  # of 0..most²
        composed[block] = (255 * light + most * most // 2) // (most * most)
    return composed.reshape(samples.shape)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Exif says on which side the first row and the first column are: 1 top and left, 2 top and right, 3 bottom and
    right, 4 bottom and left, 5 left and top, 6 right and top, 7 right and bottom, 8 left and bottom."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def resize(array: np.ndarray, size: Size | None) -> np.ndarray:
    """uint8 [H,W] or [H,W,C] -> [height,width,C] of the size ([H,W,C] without one), by antialiased bilinear
    interpolation."""
    from PIL import Image

    array = array.reshape(*array.shape[:2], -1)
    if size is None or array.shape[:2] == size[:2]:
        return array
    height, width, how = size
    rows, columns = array.shape[:2]
    scales = height / rows, width / columns
    scale = min(scales) if how == "fit" else max(scales)
    inner = (height, width) if how == "squash" else (max(1, round(scale * rows)), max(1, round(scale * columns)))
    image = Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array)
    scaled = np.asarray(image.resize(inner[::-1], Image.Resampling.BILINEAR)).reshape(*inner, -1)
    if how == "squash":
        return scaled
    top, left = abs(height - inner[0]) // 2, abs(width - inner[1]) // 2
    if how == "crop":
        return np.ascontiguousarray(scaled[top : top + height, left : left + width])
    whole = np.zeros((height, width, scaled.shape[2]), np.uint8)
    whole[top : top + inner[0], left : left + inner[1]] = scaled
    return whole


def size_of(image_size: int | str | None, how: str = "squash") -> Size | None:
    """The size that a number N (N×N) or a text "HxW" says. RequestError for what is none."""
    if image_size is None:
        return None
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", str(image_size))
    height, width = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= height * width <= MAX_PIXELS:
        limit = int(MAX_PIXELS**0.5)
        raise RequestError(
            f"--image-size {quote(image_size)} is impossible: it is the side of a square, 1 to {limit} pixels, or HxW"
        )
    if how not in RESIZES:
        raise RequestError(f"--resize {quote(how)} is unknown; there are {', '.join(RESIZES)}")
    return height, width, how


def suffix(size: Size | None) -> str:
    """What the key of a cache says of a size."""
    if size is None:
        return ""
    height, width, how = size
    return f"-{height}" if height == width and how == "squash" else f"-{height}x{width}-{how}"


class Images:
    """Room for a known number of images. The first one sets the size; grey ones take one channel if all are grey."""

    def __init__(self, count: int, file: IO[bytes] | None = None):
        """In an empty file, where one is given, which other processes may write to as well."""
        self.count, self.file = count, file
        self.filled, self.colour, self.first = 0, False, ""

    def add(self, name: str, image: np.ndarray) -> None:
        """Puts in the next uint8 [H,W,1 or 3]. DataError: another size than the first, no memory for all of them."""
        index = self.place(name, image.shape)
        self.array[index] = image

    def place(self, name: str, shape: tuple[int, ...]) -> int:
        """The index for the next image, of this shape, which is put there by other means. DataError: as `add`."""
        if self.filled == 0:
            self.first = name
            self.array = self._room(shape[0], shape[1])
        if shape[:2] != self.array.shape[1:3]:
            sizes = [f"{size[1]}x{size[0]}" for size in (self.array.shape[1:3], shape)]
            raise DataError(
                f"{self.first} is {sizes[0]} but {name} is {sizes[1]}: --image-size N makes all NxN, --resize says how"
            )
        self.colour = self.colour or shape[2] == 3
        self.filled += 1
        return self.filled - 1

    def _room(self, height: int, width: int) -> np.ndarray:
        shape = (self.count, height, width, 3)
        need, have = np.prod(shape, dtype=float), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if need > have / 2:
            gib = [f"{amount / 2**30:.1f} GiB" for amount in (need, have)]
            raise DataError(
                f"{self.first}: {self.count} images of {width}x{height} take {gib[0]}, too much for a memory of "
                f"{gib[1]}: a smaller --image-size N helps"
            )
        if self.file:
            return np.asarray(np.memmap(self.file, np.uint8, "w+", shape=shape))
        return np.empty(shape, np.uint8)

    def split(self, counts: list[int]) -> list[np.ndarray]:
        """The images, [N,H,W,1] if all were grey, else [N,H,W,3], cut into runs of these lengths."""
        array = self.array if self.colour else np.ascontiguousarray(self.array[..., :1])
        return np.split(array, np.cumsum(counts)[:-1])
