"""Random resized crops: the windows of the training images of ImageNet."""

import math
from dataclasses import dataclass

import numpy as np

from cnn_jax import randomness
from cnn_jax.data.images import resize

ATTEMPTS = 10  # at a window that fits into the image
RATIO = 4 / 3  # of a window's sides, at most


@dataclass(frozen=True)
class RandomCrops:
    """A random window of each image in an epoch. Its share of the area is uniform in [min_area, 1], its aspect ratio
    log-uniform in [3/4, 4/3] (szegedy2015going, section 6). It depends on the seed, the epoch and the position of the
    example in the split alone."""

    seed: int
    epoch: int
    min_area: float

    def window(self, position: int, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns of an image of this size. If none of ten windows fits, the largest in the centre whose
        aspect ratio is allowed."""
        random = randomness.crop(self.seed, self.epoch, position)
        for _ in range(ATTEMPTS):
            area = height * width * random.uniform(self.min_area, 1)
            ratio = math.exp(random.uniform(-math.log(RATIO), math.log(RATIO)))
            rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < rows <= height and 0 < columns <= width:
                top, left = int(random.integers(0, height - rows + 1)), int(random.integers(0, width - columns + 1))
                return slice(top, top + rows), slice(left, left + columns)
        rows, columns = min(height, max(1, round(width * RATIO))), min(width, max(1, round(height * RATIO)))
        top, left = (height - rows) // 2, (width - columns) // 2
        return slice(top, top + rows), slice(left, left + columns)

    def crop(self, image: np.ndarray, position: int, height: int, width: int) -> np.ndarray:
        """The window of an image uint8 [H,W,C], resized to [height,width,C] by antialiased bilinear interpolation."""
        return resize(image[self.window(position, *image.shape[:2])], (height, width, "squash"))
