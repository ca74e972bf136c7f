"""Encoded or decoded images of any kind -> one uint8 array, grey if all are grey, at one size."""

import io
import os
from typing import IO, Any

import numpy as np

from cnn_jax.errors import DataError, RequestError

MAX_PIXELS = 50_000_000  # of one image: what a large camera makes; anything above is taken for a decompression bomb


def decode(name: str, data: bytes, image_size: int | None = None) -> np.ndarray:
    """uint8 [H,W,1] of a grey, [H,W,3] of a colour JPEG or PNG, `image_size` square if that is given.

    16 bits become 8, palettes become their colours (grey if all are), transparency is flattened over white. EXIF is
    ignored, its orientation too. DataError: not a whole JPEG or PNG, more than MAX_PIXELS.
    """
    from PIL import JpegImagePlugin, PngImagePlugin

    # Not Image.open, whose warning of large images could be caught only by changing the filters of all threads.
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        reader: Any = PngImagePlugin.PngImageFile
    elif data.startswith(b"\xff\xd8\xff"):
        reader = JpegImagePlugin.JpegImageFile
    else:
        raise DataError(f"{name}: neither a JPEG nor a PNG image")
    try:
        with reader(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{name}: {image.width}x{image.height} pixels: the limit is {MAX_PIXELS}")
            return resize(np.asarray(_flatten(image)), image_size)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises for broken files
        raise DataError(f"{name}: broken image: {error}") from error


def _flatten(image: Any) -> Any:
    """A Pillow image of mode L or RGB."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits, grey
        deep = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        pixels = np.asarray(image)
        if (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all():
            image = image.convert("LA" if image.mode == "RGBA" else "L")
    elif "transparency" in image.info:
        image = image.convert("RGBA" if image.mode == "RGB" else "LA")
    if image.mode in ("LA", "RGBA"):
        solid = image.mode.removesuffix("A")
        white = Image.new(solid, image.size, "white")
        white.paste(image.convert(solid), mask=image.getchannel("A"))
        return white
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def resize(array: np.ndarray, size: int | None) -> np.ndarray:
    """uint8 [H,W] or [H,W,C] -> [size,size,C] (or [H,W,C] without a size), by antialiased bilinear interpolation."""
    from PIL import Image

    array = array.reshape(*array.shape[:2], -1)
    if size is None or array.shape[:2] == (size, size):
        return array
    image = Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).reshape(size, size, -1)


def check_size(image_size: int | None) -> None:
    """RequestError unless it is None or the side of a square of 1 to MAX_PIXELS pixels."""
    if image_size is not None and not 1 <= image_size <= MAX_PIXELS**0.5:
        limit = int(MAX_PIXELS**0.5)
        raise RequestError(f"--image-size {image_size} is impossible: it is the side of a square, 1 to {limit} pixels")


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
            raise DataError(f"{self.first} is {sizes[0]} but {name} is {sizes[1]}: --image-size N makes all NxN")
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
