"""Intervals with their kind and level, and how they are printed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FAILED = "failed"  # printed instead of the accuracy of a failed seed


@dataclass(frozen=True)
class Interval:
    """An interval.

    Attributes:
      low, high: its ends; None for an end that is a failed seed.
      kind: a description in words, with the level.
      level: its coverage probability; None for the range of too few values.
    """

    low: float | None
    high: float | None
    kind: str
    level: float | None

    def text(self, form: str = ".4g", scale: float = 1.0) -> str:
        """The ends times `scale` in the format `form`, and the kind: '98.1 – 99.3 (96.9 % interval of the median)'."""
        low, high = (FAILED if end is None else format(scale * end, form) for end in (self.low, self.high))
        return f"{low} – {high} ({self.kind})"


def percent(level: float) -> str:
    """A level as text with three digits: 0.95 as '95 %', 0.96875 as '96.9 %'."""
    return f"{100.0 * level:.3g} %"


def require_finite(values: Sequence[float]) -> None:
    """Raises ValueError for NaN or infinity."""
    if not np.isfinite(values).all():
        raise ValueError(f"{list(values)} are not all finite")


def require_share(name: str, value: float) -> None:
    """Raises ValueError unless 0 < `value` < 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} {value:g} is not between 0 and 1")
