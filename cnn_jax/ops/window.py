"""The arithmetic of a window that slides along one axis: padding, output length, and why a window does not fit."""

from dataclasses import dataclass
from typing import Literal

from cnn_jax.errors import RequestError

Padding = Literal["valid", "same"] | int


@dataclass(frozen=True)
class Window:
    """A filter or pool along one axis of `length` positions.

    `low` and `high` are the positions of padding before and after the input, `overhang` those after the padding that
    only a rounding-up pool reaches (they are no part of an average).
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
        """The window that `padding` asks for: 'valid' (none), 'same' (output ceil(length / stride), the low side gets
        the smaller half, as XLA does it) or a number of positions on both sides. With `ceil` the output length is
        rounded up, except that no window starts in the padding after the input (as Caffe and PyTorch).

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
    def extent(self) -> int:
        """Positions from the first to the last tap, holes of the dilation included."""
        return (self.size - 1) * self.dilation + 1

    @property
    def output(self) -> int:
        """Number of positions of the window."""
        return (self.length + self.low + self.high + self.overhang - self.extent) // self.stride + 1

    @property
    def side_by_side(self) -> bool:
        """Whether the windows touch but do not overlap, without padding or holes."""
        return self.size == self.stride and self.dilation == 1 and not (self.low or self.high or self.overhang)


@dataclass(frozen=True)
class Geometry:
    """What the shapes of a convolution's operands do not say, and what computes it.

    With `pool` > 1 the maps are pooled over windows of that size side by side, with `rectify` after a relu.
    """

    rows: Window
    columns: Window
    groups: int = 1
    pool: int = 1
    rectify: bool = False
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
