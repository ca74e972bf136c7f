"""From axes to trials: every combination of the values of the axes, each with every seed."""

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
    "hosts": "every trial is trained by one process",
    "without_test": "all trials share one split",
    "final_fit": "it comes after the choice",
}
_ARGUMENTS = ("optimizer_args", "schedule_args", "network_args")  # an axis is one argument of them: optimizer_args.b1


def show(value: Any) -> str:
    """The display text of a value of an axis."""
    if isinstance(value, bool) or value is None or value == "":
        return {True: "yes", False: "no", None: "none", "": "none"}[value]
    if isinstance(value, int | float):
        return f"{value:g}"
    return " ".join(map(show, value)) if isinstance(value, tuple) else str(value)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse_equal(name: str, values: tuple[Any, ...]) -> None:
    """Raises RequestError if two values of an axis are equal (floats as float32, in which training computes) or if a
    non-zero number is 0 in float32."""
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
    """`base` with the given values of some axes."""
    fields = base.to_json()
    for name, value in values.items():
        field, dot, argument = name.partition(".")
        fields[field] = {**fields[field], argument: value} if dot else value
    return Config.from_json(fields)


def value_of(config: Config, axis: str) -> Any:
    """The value of an axis in a config."""
    field, dot, argument = axis.partition(".")
    value = getattr(config, field)
    return value[argument] if dot else value


@dataclass(frozen=True)
class Grid:
    """A base config and, by field, the values to try: numbers or any other valid values of a config. `seed` is an axis
    like the others but not part of a cell.

    The learning rate is always an axis, by default with the single value of the base.
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
            except TypeError:  # not hashable, such as a network in JSON
                raise RequestError(f"axis {name}: a value must be a number or text") from None
        if "seed" not in self.axes:
            raise RequestError("a grid needs the axis seed, e.g. seed=0,1,2")
        self.trials()  # so that an invalid value raises before anything runs

    @property
    def cell_axes(self) -> tuple[str, ...]:
        return tuple(name for name in self.axes if name != "seed")

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.axes["seed"]

    def cells(self) -> list[dict[str, Any]]:
        """Every combination of the axes except the seed; the first axis varies slowest."""
        names = self.cell_axes
        return [dict(zip(names, values, strict=True)) for values in itertools.product(*(self.axes[n] for n in names))]

    def trials(self) -> list[Config]:
        """Every cell with every seed; each is the same run as it would be on its own. The trials do not train on the
        validation images, even with `final_fit`, which comes after the choice of a cell."""
        base = dataclasses.replace(self.base, final_fit=False)
        return [with_values(base, cell | {"seed": seed}) for cell in self.cells() for seed in self.seeds]

    def edge(self, name: str, best: Any) -> tuple[str, Any] | None:
        """If the best value is on an edge of a numeric axis, which edge, and the value to add there (None if no config
        accepts it); else None."""
        edge = next_values(self.axes[name], best)
        if edge is None:
            return None
        side, value = edge
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
    """Raises RequestError if `name` cannot be an axis."""
    field, dot, argument = name.partition(".")
    if field in _NOT_AN_AXIS:
        raise RequestError(f"{field} cannot be an axis: {_NOT_AN_AXIS[field]}")
    fields = [f.name for f in dataclasses.fields(Config) if f.name not in _NOT_AN_AXIS]
    if field not in fields or bool(dot) != (field in _ARGUMENTS) or (dot and not argument.isidentifier()):
        shown = [f"{f}.<name>" if f in _ARGUMENTS else f for f in fields]
        raise RequestError(f"axis {quote(name)} is no field of the config; there are {', '.join(shown)}")


def next_values(values: tuple[Any, ...], best: Any) -> tuple[str, Any] | None:
    """If the best value is on an edge of a numeric axis, which edge, and the value to add there: one more step of the
    same ratio. None if it is not on an edge or the axis has a single value."""
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
