"""From axes to trials: every combination of the axes' values, each with every seed."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn_jax.errors import RequestError, quote
from cnn_jax.training.config import Config

Axes = Mapping[str, tuple[Any, ...]]

_NOT_AN_AXIS = {
    "split_seed": "the split is the same for all trials",
    "validation": "all trials share one split",
    "dataset": "a sweep has one data set; compare several sweeps",
    "data_dir": "a sweep has one data set",
    "stream": "a sweep has one data set",
    "without_test": "all trials share one split",
    "final_fit": "it comes after the choice",
}
_ARGUMENTS = ("optimizer_args", "schedule_args", "network_args")  # an axis goes over one of them: optimizer_args.b1


def show(value: Any) -> str:
    """A value of an axis for a reader."""
    if isinstance(value, bool) or value is None or value == "":
        return {True: "yes", False: "no", None: "none", "": "none"}[value]
    if isinstance(value, int | float):
        return f"{value:g}"
    return " ".join(map(show, value)) if isinstance(value, tuple) else str(value)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse_equal(name: str, values: tuple[Any, ...]) -> None:
    """RequestError for values of an axis that are equal, numbers as they are computed with, in float32, and for a
    positive number that is 0 there."""
    seen: dict[Any, Any] = {}
    for value in values:
        with np.errstate(over="ignore", under="ignore"):
            key = float(np.float32(value)) if isinstance(value, float) else value
        if is_number(value) and key == 0 and value:
            raise RequestError(f"axis {name}: {value!r} is 0 in float32")
        if key in seen:
            where = "" if value == seen[key] else " in float32"
            raise RequestError(f"axis {name} lists a value twice{where}: {seen[key]!r} and {value!r}")
        seen[key] = value


def with_values(base: Config, values: Mapping[str, Any]) -> Config:
    """`base` with the values of some axes."""
    fields = base.to_json()
    for name, value in values.items():
        field, dot, argument = name.partition(".")
        fields[field] = {**fields[field], argument: value} if dot else value
    return Config.from_json(fields)


def value_of(config: Config, axis: str) -> Any:
    """The value that a config has on an axis."""
    field, dot, argument = axis.partition(".")
    value = getattr(config, field)
    return value[argument] if dot else value


@dataclass(frozen=True)
class Grid:
    """A base config and, by field, the values to take: numbers or anything else that a config takes. `seed` is an axis
    like the others but never part of a cell.

    The learning rate is always an axis, if only of the base's value.
    """

    base: Config
    axes: Axes

    def __post_init__(self):
        if "learning_rate" not in self.axes:
            object.__setattr__(self, "axes", {"learning_rate": (self.base.learning_rate,), **self.axes})
        for name, values in self.axes.items():
            check_axis(name)
            if not values:
                raise RequestError(f"axis {name} has no value")
            try:
                _refuse_equal(name, values)
            except TypeError:  # of what cannot be a key, as a network in JSON
                raise RequestError(f"axis {name}: a value must be a number or text") from None
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
        base = dataclasses.replace(self.base, final_fit=False)
        return [with_values(base, cell | {"seed": seed}) for cell in self.cells() for seed in self.seeds]

    def edge(self, name: str, best: Any) -> tuple[str, Any] | None:
        """Which edge of an axis of numbers the best value lies on, and the value to add there, None if no config can
        have it; None if it lies inside."""
        found = next_values(self.axes[name], best)
        if found is None:
            return None
        side, value = found
        try:
            with_values(self.base, {name: value})
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


def check_axis(name: str) -> None:
    """RequestError for what is no axis."""
    field, dot, argument = name.partition(".")
    if field in _NOT_AN_AXIS:
        raise RequestError(f"{field} cannot be an axis: {_NOT_AN_AXIS[field]}")
    fields = [one.name for one in dataclasses.fields(Config) if one.name not in _NOT_AN_AXIS]
    if field not in fields or bool(dot) != (field in _ARGUMENTS) or (dot and not argument.isidentifier()):
        shown = [f"{one}.<name>" if one in _ARGUMENTS else one for one in fields]
        raise RequestError(f"axis {quote(name)} is no field of the config; there are {', '.join(shown)}")


def next_values(values: tuple[Any, ...], best: Any) -> tuple[str, Any] | None:
    """If the best value lies on the edge of an axis of numbers, which edge and the value to add there, a step of the
    same ratio on; None if it lies inside or the axis has a single value."""
    if not all(map(is_number, values)):
        return None
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
