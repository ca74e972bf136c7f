"""The networks whose training step is timed, and the images they are trained on. Imports no framework."""

import dataclasses
from dataclasses import dataclass

import numpy as np

CLASSES = 10
BATCHES = 8  # that every contender cycles over: few enough to lie on the device, too many for one to stay in a cache
LEARNING_RATE = 0.01  # small, so that no unit dies and no loss overflows however many steps are timed
MOMENTUM = 0.9


@dataclass(frozen=True)
class Work:
    """A stack of convolutions with `filters` of size `kernel`, each with a ReLU and a pool of 2, then `hidden` hidden
    units; or, where `zoo` names it, a network of the zoo. `shape` is that of an image: height, width, channels."""

    name: str
    shape: tuple[int, int, int]
    kernel: int = 3
    filters: tuple[int, ...] = ()
    zoo: str | None = None
    hidden: int = 256

    @property
    def text(self) -> str:
        """The network in the notation of cnn_jax."""
        if self.zoo:
            return self.zoo
        stack = " ".join(f"conv{self.kernel}-{filters}:same relu max2" for filters in self.filters)
        return f"{stack} dense-{self.hidden} relu dense-{CLASSES}"


# The network of the grid that results/grid-fashion swept; the benchmark of sweeps sets its filters.
GRID = Work("G", (28, 28, 1), 5, (8, 16), hidden=64)

WORKS = {
    work.name: work
    for work in (
        Work("L", (28, 28, 1), 5, (6, 16)),
        Work("M", (28, 28, 1), 3, (32, 64)),
        Work("C", (32, 32, 3), 3, (64, 128, 256)),
        Work("R", (32, 32, 3), zoo="resnet20"),
    )
}


def work_of(name: str, width: int | None = None) -> Work:
    """The work of a name; `width` sets the filters of its first convolution, the others keep their proportion to it."""
    work = WORKS[name]
    if width is None:
        return work
    return widened(work, width)


def widened(work: Work, width: int) -> Work:
    """A work whose first convolution has `width` filters, the others in proportion."""
    filters = tuple(round(width * filters / work.filters[0]) for filters in work.filters)
    return dataclasses.replace(work, filters=filters)


def examples(work: Work, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images, uint8 (BATCHES · batch_size, height, width, channels), and labels, int32: no step depends on what
    is in them."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCHES * batch_size, *work.shape), np.uint8)
    return images, random.integers(0, CLASSES, BATCHES * batch_size, np.int32)


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel in units of 0 … 1, float32."""
    scaled = images.astype(np.float32) / 255
    return scaled.mean((0, 1, 2)), scaled.std((0, 1, 2))


def normalised_batches(work: Work, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The same examples as the peers get them: float32 images of zero mean and unit variance, (BATCHES, batch_size,
    height, width, channels), and labels (BATCHES, batch_size)."""
    images, labels = examples(work, batch_size)
    mean, std = moments(images)
    normalised = (images.astype(np.float32) / 255 - mean) / std
    return normalised.reshape(BATCHES, batch_size, *work.shape), labels.reshape(BATCHES, batch_size)
