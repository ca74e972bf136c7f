"""The arithmetic of a window that slides along one axis: padding, output length, and why a window does not fit."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnn_jax.errors import RequestError

Padding = Literal["valid", "same"] | int


@dataclass(frozen=True)
class Window:
    """A filter or pool along one axis of `length` positions.

    `low` and `high` count the positions of padding before and after the input, `overhang` the positions after the
    padding that only a pool which rounds up reaches (they do not count in an average).
    Source of the formulas: dumoulin2016guide, "A guide to convolution arithmetic for deep learning", section 2.
    """

    length: int
    size: int
    stride: int
    dilation: int
    low: int
    high: int
    overhang: int = 0

    @classmethod
    def along(
        cls, length: int, size: int, stride: int, padding: Padding, dilation: int = 1, ceil: bool = False
    ) -> "Window":
        """The window of `size` taps over an axis of `length` positions.

        Args:
          padding: 'valid' (none), 'same' (the output has ceil(length / stride) positions; the low side gets the smaller
            half, as in XLA) or the number of positions on both sides.
          ceil: rounds the output length up, except that no window starts in the padding after the input (as in Caffe
            and PyTorch).

        Raises RequestError with the arithmetic if no window fits.
        """
        if size < 1 or stride < 1 or dilation < 1:
            raise RequestError(f"size {size}, stride {stride} and dilation {dilation} must be at least 1")
        extent = (size - 1) * dilation + 1
        if padding == "valid":
            low = high = 0
        elif padding == "same":
            total = max((-(-length // stride) - 1) * stride + extent - length, 0)
            low, high = total // 2, total - total // 2
        else:
            if padding < 0:
                raise RequestError(f"padding {padding} must not be negative")
            low = high = padding
        free = length + low + high - extent
        if free < 0:
            padded = f"{length} + {low} + {high} of padding" if low or high else f"{length}"
            raise RequestError(
                f"a window of {extent} does not fit its input of {padded}: "
                f"({length} + {low} + {high} - {extent}) / {stride} + 1 = {free // stride + 1}"
            )
        overhang = 0
        if ceil and free % stride and (free // stride + 1) * stride < length + low:
            overhang = stride - free % stride
        return cls(length, size, stride, dilation, low, high, overhang)

    @property
    def covered(self) -> np.ndarray:
        """How many positions of the input or its padding each window of a pool covers, int (output,)."""
        starts = np.arange(self.output) * self.stride
        return np.minimum(starts + self.size, self.length + self.low + self.high) - starts

    @property
    def extent(self) -> int:
        """Positions from the first to the last tap, including the holes of the dilation."""
        return (self.size - 1) * self.dilation + 1

    @property
    def output(self) -> int:
        """Number of output positions."""
        return (self.length + self.low + self.high + self.overhang - self.extent) // self.stride + 1

    @property
    def side_by_side(self) -> bool:
        """Whether the windows tile the axis without overlap, padding or holes."""
        return self.size == self.stride and self.dilation == 1 and not (self.low or self.high or self.overhang)


@dataclass(frozen=True)
class Geometry:
    """The parameters of a convolution that the shapes of its operands do not determine, and its implementation.

    With `pool` > 1 the maps are pooled over non-overlapping windows of that size, with `relu` after a ReLU.
    """

    rows: Window
    columns: Window
    groups: int = 1
    pool: int = 1
    relu: bool = False
    implementation: str = "canonical"

    @property
    def maps(self) -> tuple[int, int]:
        """Height and width of the maps, after the pool."""
        return self.rows.output // self.pool, self.columns.output // self.pool

    @property
    def pool_windows(self) -> tuple[Window, Window]:
        """The pool along the height and width of the maps."""
        height, width = (Window.along(axis.output, self.pool, self.pool, "valid") for axis in (self.rows, self.columns))
        return height, width
