"""Converts encoded or decoded images to one uint8 array of one size, grey if all images are grey."""

import io
import os
import re
from typing import IO

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

MAX_PIXELS = 50_000_000  # per image, as of a large camera; anything above is treated as a decompression bomb
BLOCK = 1 << 18  # pixels composed at once
Size = tuple[int, int, str]  # height, width and one of RESIZES
RESIZES = ("squash", "fit", "crop")  # stretch to the shape, fit inside with black borders, cover and crop

# Pillow's mode for a PNG's pixels, by colour and bits per sample, and its names for how they are packed. Of 16 bits it
# decodes only 8: the high byte with the first name, the low byte with the second.
MODES = {
    (GREY, 1): ("P", "P;1"),  # 0 and 1
    (GREY, 2): ("L", "L;2"),
    (GREY, 4): ("L", "L;4"),
    (GREY, 8): ("L", "L"),
    (GREY, 16): ("I;16", "I;16B"),
    (RGB, 8): ("RGB", "RGB"),
    (RGB, 16): ("RGB", "RGB;16B", "RGB;16L"),
    (PALETTE, 1): ("P", "P;1"),
    (PALETTE, 2): ("P", "P;2"),
    (PALETTE, 4): ("P", "P;4"),
    (PALETTE, 8): ("P", "P"),
    (GREY_ALPHA, 8): ("LA", "LA"),
    (GREY_ALPHA, 16): ("RGBA", "RGBA"),  # as if these were the four bytes of a pixel of 8-bit RGBA
    (RGB_ALPHA, 8): ("RGBA", "RGBA"),
    (RGB_ALPHA, 16): ("RGBA", "RGBA;16B", "RGBA;16L"),
}


def is_image(head: bytes) -> bool:
    """True if these are the first bytes of a PNG or JPEG."""
    return head.startswith((PNG_SIGNATURE, JPEG_START))


def decode(name: str, data: bytes, size: Size | None = None) -> np.ndarray:
    """Decodes a JPEG or PNG to uint8 [H,W,1] (grey) or [H,W,3] (colour), resized if a size is given.

    The Exif orientation is applied. 16 bits become 8 by rounding, palettes become their colours (grey if all are),
    transparency of any kind is composed over white.

    Raises DataError for anything but a complete JPEG or PNG of at most MAX_PIXELS.
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
    except Exception as error:  # broken files make Pillow raise almost any exception
        raise DataError(f"{name}: broken image: {reason(error)}") from error


def _jpeg(jpeg: Jpeg) -> np.ndarray:
    """uint8 [H,W] or [H,W,3]. libjpeg-turbo decodes what it finds nothing to warn of; the rest is for Pillow, which has
    the same pixels, accepts more and says what is wrong."""
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(jpeg.data)
        if height * width <= MAX_PIXELS and colours in ("YCbCr", "Gray"):
            pixels = simplejpeg.decode_jpeg(jpeg.data, "GRAY" if colours == "Gray" else "RGB")
            return pixels.reshape(height, width, -1)
    except ValueError:
        pass
    from PIL import JpegImagePlugin

    with JpegImagePlugin.JpegImageFile(io.BytesIO(jpeg.data)) as image:
        _check_pixels(image.width, image.height)
        return np.asarray(image if image.mode == "L" else image.convert("RGB"))


def _png(png: Png) -> np.ndarray:
    """uint8 [H,W,1] or [H,W,3]."""
    maximum = 65535 if png.depth == 16 else 255  # of a sample; Pillow widens samples of fewer bits
    samples = _samples(png)
    alpha: np.ndarray | None = None
    if png.colour == PALETTE:
        samples, alpha = _coloured(samples, png)
    elif png.colour in (GREY_ALPHA, RGB_ALPHA):
        samples, alpha = samples[..., :-1], samples[..., -1:]
    elif png.transparency is not None:
        largest = (1 << png.depth) - 1
        key = np.frombuffer(png.transparency, ">u2", samples.shape[2]) & largest  # other bits are ignored
        alpha = np.where((samples == key * (maximum // largest)).all(2, keepdims=True), 0, maximum)
    if maximum == 255 and alpha is None:
        return samples
    return _over_white(samples, alpha, maximum)


def _samples(png: Png) -> np.ndarray:
    """Samples [H,W,channels], uint16 for 16 bits, else uint8; for a palette each pixel's index."""
    _check_pixels(png.width, png.height)
    mode, *rawmodes = MODES[png.colour, png.depth]
    pixels, *low = (_raw(png, mode, rawmode) for rawmode in rawmodes)
    if low:
        return pixels.astype(np.uint16) << 8 | low[0]
    if png.depth == 16:
        return pixels.view("<u2" if png.colour == GREY else ">u2").astype(np.uint16)
    return pixels * 255 if (png.colour, png.depth) == (GREY, 1) else pixels


def _raw(png: Png, mode: str, rawmode: str) -> np.ndarray:
    """The bytes [H,W,B] of the pixels, without the conversions of Pillow's reader of PNG files, which keep 8 of 16 bits
    and compare transparent colours wrongly."""
    from PIL import Image

    image = Image.frombytes(mode, (png.width, png.height), png.pixels, "zip", rawmode, int(png.interlaced))
    return np.frombuffer(image.tobytes(), np.uint8).reshape(png.height, png.width, -1)


def _check_pixels(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise DataError(f"{width}x{height} pixels: the limit is {MAX_PIXELS}")


def _coloured(indices: np.ndarray, png: Png) -> tuple[np.ndarray, np.ndarray | None]:
    """Looks up palette indices [H,W,1]: colours [H,W,1 or 3] and alpha [H,W,1] (None if nothing is transparent).
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


def _over_white(samples: np.ndarray, alpha: np.ndarray | None, maximum: int) -> np.ndarray:
    """Composes samples [H,W,C] over white by alpha [H,W,1], both in 0..maximum, to 8 bits with a single rounding."""
    flat = samples.reshape(-1, samples.shape[2])
    opacity = np.broadcast_to(maximum, (len(flat), 1)) if alpha is None else alpha.reshape(-1, 1)
    composed = np.empty(flat.shape, np.uint8)
    wide = np.uint32 if maximum == 255 else np.uint64  # holds 255 * maximum²
    for start in range(0, len(flat), BLOCK):
        block = slice(start, start + BLOCK)
        weight = opacity[block].astype(wide)
        light = maximum * (maximum - weight) + flat[block] * weight  # of 0..maximum²
        composed[block] = (255 * light + maximum * maximum // 2) // (maximum * maximum)
    return composed.reshape(samples.shape)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Applies the Exif orientation, which names the sides of the first row and the first column: 1 top and left, 2 top
    and right, 3 bottom and right, 4 bottom and left, 5 left and top, 6 right and top, 7 right and bottom, 8 left and
    bottom."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def resize(array: np.ndarray, size: Size | None) -> np.ndarray:
    """Resizes uint8 [H,W] or [H,W,C] to [height,width,C] by antialiased bilinear interpolation; to [H,W,C] if size is
    None."""
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
    bordered = np.zeros((height, width, scaled.shape[2]), np.uint8)
    bordered[top : top + inner[0], left : left + inner[1]] = scaled
    return bordered


def size_of(image_size: int | str | None, how: str = "squash") -> Size | None:
    """Parses a number N (N×N) or a text "HxW". Raises RequestError for anything else."""
    if image_size is None:
        return None
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", str(image_size))
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= height * width <= MAX_PIXELS:
        limit = int(MAX_PIXELS**0.5)
        raise RequestError(
            f"--image-size {quote(image_size)} is impossible: it is the side of a square, 1 to {limit} pixels, or HxW"
        )
    if how not in RESIZES:
        raise RequestError(f"--resize {quote(how)} is unknown; there are {', '.join(RESIZES)}")
    return height, width, how


def suffix(size: Size | None) -> str:
    """The suffix of a cache key for this size."""
    if size is None:
        return ""
    height, width, how = size
    return f"-{height}" if height == width and how == "squash" else f"-{height}x{width}-{how}"


class Images:
    """An array of a known number of images, sized by the first image; one channel if all are grey, else three."""

    def __init__(self, count: int, file: IO[bytes] | None = None):
        """`file`: an empty file for the array, which other processes may also write to; None for private memory."""
        self.count, self.file = count, file
        self.filled, self.colour, self.first = 0, False, ""

    def add(self, name: str, image: np.ndarray) -> None:
        """Adds an image, uint8 [H,W,1 or 3]. Raises DataError for another size than the first or too little memory."""
        index = self.place(name, image.shape)
        self.array[index] = image

    def place(self, name: str, shape: tuple[int, ...]) -> int:
        """Reserves an index for an image of this shape, which the caller writes. Raises DataError like `add`."""
        if self.filled == 0:
            self.first = name
            self.array = self._allocate(shape[0], shape[1])
        if shape[:2] != self.array.shape[1:3]:
            sizes = [f"{size[1]}x{size[0]}" for size in (self.array.shape[1:3], shape)]
            raise DataError(
                f"{self.first} is {sizes[0]} but {name} is {sizes[1]}: --image-size N makes all NxN, --resize says how"
            )
        self.colour = self.colour or shape[2] == 3
        self.filled += 1
        return self.filled - 1

    def _allocate(self, height: int, width: int) -> np.ndarray:
        shape = (self.count, height, width, 3)
        needed, available = np.prod(shape, dtype=float), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if needed > available / 2:
            gib = [f"{amount / 2**30:.1f} GiB" for amount in (needed, available)]
            raise DataError(
                f"{self.first}: {self.count} images of {width}x{height} take {gib[0]}, too much for a memory of "
                f"{gib[1]}: a smaller --image-size N helps"
            )
        if self.file:
            return np.asarray(np.memmap(self.file, np.uint8, "w+", shape=shape))
        return np.empty(shape, np.uint8)

    def split(self, counts: list[int]) -> list[np.ndarray]:
        """The images, [N,H,W,1] if all are grey, else [N,H,W,3], split into consecutive arrays of these lengths."""
        array = self.array if self.colour else np.ascontiguousarray(self.array[..., :1])
        return np.split(array, np.cumsum(counts)[:-1])
