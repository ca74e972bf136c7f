"""Examples in a fixed order: every source is read into them, and data sets are divided from them."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cnn_jax.data.crops import RandomCrops

BLOCK = 1000  # images processed together, so that NumPy's intermediate arrays fit in the processor's cache


class Examples(Protocol):
    """Labelled images, in memory or on disk. `labels` is int32 [N], `image_shape` (height, width, channels)."""

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[np.ndarray]:
        """All images in order, a few at a time, uint8 [n,H,W,C]."""
        ...


class OnDisk(Examples, Protocol):
    """Examples read from disk on demand."""

    def chunks(self, positions: np.ndarray, size: int, *, crops: RandomCrops | None) -> Generator["Split", None, None]:
        """The examples at `positions`, in order, `size` at a time, or windows of them."""
        ...


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in a fixed order. `images` is uint8 [N,H,W,C] with C 1 (grey) or 3 (RGB), `labels` int32 [N]."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise ValueError(f"images must be uint8 [N,H,W,1 or 3], not {images.dtype} {list(images.shape)}")
        if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be int32 [{len(images)}], not {labels.dtype} {list(labels.shape)}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def blocks(self) -> Iterator[np.ndarray]:
        """All images in order, a few at a time, uint8 [n,H,W,C]."""
        for start in range(0, len(self), BLOCK):
            yield self.images[start : start + BLOCK]


@dataclass(frozen=True, eq=False)
class Parts:
    """The splits of a source before division: `all`, or `train` and optionally `validation` and `test`."""

    splits: dict[str, Split]
    class_names: tuple[str, ...]
    source: dict[str, Any]
