"""From axes to trials: every combination of the axes' values, each with every seed."""

import dataclasses
import hashlib
import itertools
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn_jax.errors import RequestError, quote
from cnn_jax.training.config import Config

Axes = Mapping[str, tuple[Any, ...]]

_NOT_AN_AXIS = {"split_seed": "the split is the same for all trials", "validation": "all trials share one split"}


def _refuse_equal(name: str, values: tuple[Any, ...]) -> None:
    """RequestError for values of an axis that are one number where they are computed with, in float32, and for a
    positive one that is 0 there."""
    numbers: dict[float, Any] = {}
    for value in values:
        with np.errstate(over="ignore", under="ignore"):
            number = float(np.float32(value)) if isinstance(value, float) else value
        if number == 0 and value:
            raise RequestError(f"axis {name}: {value!r} is 0 in float32")
        if number in numbers:
            where = "" if value == numbers[number] else " in float32"
            raise RequestError(f"axis {name} lists a value twice{where}: {numbers[number]!r} and {value!r}")
        numbers[number] = value


@dataclass(frozen=True)
class Grid:
    """A base config and, by field, the values to take; `seed` is an axis like the others but never part of a cell.

    The learning rate is always an axis, if only of the base's value.
    """

    base: Config
    axes: Axes

    def __post_init__(self):
        if "learning_rate" not in self.axes:
            object.__setattr__(self, "axes", {"learning_rate": (self.base.learning_rate,), **self.axes})
        valid = numeric_fields()
        for name, values in self.axes.items():
            if name in _NOT_AN_AXIS:
                raise RequestError(f"{name} cannot be an axis: {_NOT_AN_AXIS[name]}")
            if name not in valid:
                raise RequestError(
                    f"axis {quote(name)} is no numeric field of the config; there are {', '.join(valid)}"
                )
            if not values:
                raise RequestError(f"axis {name} has no value")
            _refuse_equal(name, values)
        if "seed" not in self.axes:
            raise RequestError("a grid needs the axis seed, e.g. seed=0,1,2")
        self.trials()  # a value that a config refuses is refused before anything runs

    @property
    def cell_axes(self) -> tuple[str, ...]:
        return tuple(name for name in self.axes if name != "seed")

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.axes["seed"]

    def cells(self) -> list[dict[str, Any]]:
        """Every combination of the axes but the seed, the first axis slowest."""
        names = self.cell_axes
        return [dict(zip(names, values, strict=True)) for values in itertools.product(*(self.axes[n] for n in names))]

    def trials(self) -> list[Config]:
        """Every cell with every seed; the same base config with the same values is the same run as on its own. A final
        fit comes after the trials, which leave the validation images to choose by."""
        base = self.base.to_json() | {"final_fit": False}
        return [Config.from_json(base | cell | {"seed": seed}) for cell in self.cells() for seed in self.seeds]

    def edge(self, name: str, best: Any) -> tuple[str, Any] | None:
        """Which edge of an axis the best value lies on, and the value to add there, None if no config can have it;
        None if it lies inside."""
        found = next_values(self.axes[name], best)
        if found is None:
            return None
        side, value = found
        try:
            Config.from_json(self.base.to_json() | {name: value})
        except RequestError:
            return side, None
        return side, value

    def to_json(self) -> dict[str, Any]:
        return {**self.base.to_json(), "axes": {name: list(values) for name, values in self.axes.items()}}

    def hash(self) -> str:
        """The first 12 hex digits of the sha256 of base and axes as sorted JSON."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Grid":
        """The inverse of `to_json`. Raises RequestError as Config.from_json does."""
        if not isinstance(values, dict) or not isinstance(values.get("axes"), dict):
            raise RequestError("a sweep's config is a run's config with an object 'axes' of lists")
        base = Config.from_json({name: value for name, value in values.items() if name != "axes"})
        return cls(base, {name: tuple(axis) for name, axis in values["axes"].items()})


def numeric_fields() -> list[str]:
    """The fields of a config that can be an axis: whole numbers and numbers."""
    hints = typing.get_type_hints(Config)
    numeric = {int, float, int | None, float | None}
    return [f.name for f in dataclasses.fields(Config) if hints[f.name] in numeric and f.name not in _NOT_AN_AXIS]


def next_values(values: tuple[Any, ...], best: Any) -> tuple[str, Any] | None:
    """If the best value lies on the edge of an axis, which edge and the value to add there, a step of the same ratio
    on; None if it lies inside or the axis has a single value."""
    ordered = sorted(values)
    if len(ordered) < 2 or best not in (ordered[0], ordered[-1]):
        return None
    edge, inner, side = (ordered[0], ordered[1], "lower") if best == ordered[0] else (*ordered[:-3:-1], "upper")
    if edge > 0 and inner > 0:
        value: Any = edge * edge / inner
    else:
        value = 2 * edge - inner
    if all(isinstance(v, int) for v in values):
        value = round(value)
        return (side, value) if value != edge and value > 0 else None
    return side, float(f"{value:.2g}")
