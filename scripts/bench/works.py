"""The networks whose training step is timed, and their training images. Imports no framework."""

import dataclasses
from dataclasses import dataclass

import numpy as np

CLASSES = 10
BATCHES = 8  # every contender cycles over them: few enough to fit on the device, too many to stay in a cache
LEARNING_RATE = 0.01  # small enough that no unit dies and no loss overflows, however many steps are timed
MOMENTUM = 0.9


@dataclass(frozen=True)
class Work:
    """A stack of convolutions, each with a ReLU and a 2x2 max pool, then a hidden dense layer; or convolutions, each
    with a batch norm and a ReLU, then a global pool; or a registered network."""

    name: str
    shape: tuple[int, int, int]  # of an image: height, width, channels
    kernel: int = 3  # size of the filters
    filters: tuple[int, ...] = ()  # of each convolution
    normed: tuple[tuple[int, int, int, int], ...] = ()  # of each convolution: size, filters, stride, groups
    zoo: str | None = None  # name of a registered network
    hidden: int = 256  # units
    batch_size: int = 128

    @property
    def text(self) -> str:
        """The network in the notation of cnn_jax."""
        if self.zoo:
            return self.zoo
        if self.normed:
            return f"{' '.join(map(_token, self.normed))} gap dense-{CLASSES}"
        stack = " ".join(f"conv{self.kernel}-{filters}:same relu max2" for filters in self.filters)
        return f"{stack} dense-{self.hidden} relu dense-{CLASSES}"


def _token(convolution: tuple[int, int, int, int]) -> str:
    """A convolution with a batch norm and a ReLU in the notation of cnn_jax."""
    size, filters, stride, groups = convolution
    options = f"{f'/{stride}' if stride > 1 else ''}:pad{size // 2}{f':g{groups}' if groups > 1 else ''}:nobias"
    return f"conv{size}-{filters}{options} bn relu"


def _bottleneck(inner: int, outer: int, stride: int, groups: int) -> tuple[tuple[int, int, int, int], ...]:
    return (1, inner, 1, 1), (3, inner, stride, groups), (1, outer, 1, 1)


# The network of the grid results/grid-fashion; the sweep benchmark sets its filters.
GRID = Work("G", (28, 28, 1), 5, (8, 16), hidden=64)

WORKS = {
    work.name: work
    for work in (
        Work("L", (28, 28, 1), 5, (6, 16)),
        Work("M", (28, 28, 1), 3, (32, 64)),
        Work("C", (32, 32, 3), 3, (64, 128, 256)),
        Work("R", (32, 32, 3), zoo="resnet20"),
        Work("D", (32, 32, 3), normed=((3, 32, 1, 1), *(
            layer for channels, filters, stride in ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2))
            for layer in ((3, channels, stride, channels), (1, filters, 1, 1))
        ))),
        Work("X", (32, 32, 3), normed=(
            (3, 64, 1, 1), *_bottleneck(128, 128, 1, 32), *_bottleneck(128, 128, 1, 32), *_bottleneck(256, 256, 2, 32),
        )),
        Work("R18", (32, 32, 3), zoo="cifar_resnet18", batch_size=512),
        Work("W", (32, 32, 3), zoo="wrn16_4"),
    )
}  # fmt: skip


CPU_WORKS = ("L", "M", "C", "R")  # the others take minutes there

# float32 is without TF32 everywhere; only equal precisions are compared.
PRECISIONS = ("float32", "tf32", "bfloat16")


def work_of(name: str, width: int | None = None) -> Work:
    """The network called `name`; `width` sets the filters of its first convolution and scales the others."""
    work = WORKS[name]
    if width is None:
        return work
    return widened(work, width)


def widened(work: Work, width: int) -> Work:
    """A network with `width` filters in its first convolution and the others scaled in proportion."""
    filters = tuple(round(width * filters / work.filters[0]) for filters in work.filters)
    return dataclasses.replace(work, filters=filters)


def examples(work: Work, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images, uint8 (BATCHES · batch_size, height, width, channels), and labels, int32; the time of a step does
    not depend on their content."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCHES * batch_size, *work.shape), np.uint8)
    return images, random.integers(0, CLASSES, BATCHES * batch_size, np.int32)


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel of images scaled to 0..1, float32."""
    scaled = images.astype(np.float32) / 255
    return scaled.mean((0, 1, 2)), scaled.std((0, 1, 2))


def normalised_batches(work: Work, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The same examples for the peers: float32 images of zero mean and unit variance, (BATCHES, batch_size, height,
    width, channels), and labels (BATCHES, batch_size)."""
    images, labels = examples(work, batch_size)
    mean, std = moments(images)
    normalised = (images.astype(np.float32) / 255 - mean) / std
    return normalised.reshape(BATCHES, batch_size, *work.shape), labels.reshape(BATCHES, batch_size)
