"""Metrics: one registry, which training, evaluation, tables, citations and comparisons all use.

A metric is a mean over examples. It is accumulated as a masked sum and a count and divided once at the end, so it is
never a mean of batch means and counts no example twice. `register_metric` adds a new metric everywhere.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int, Num

from cnn_jax.errors import RequestError
from cnn_jax.registry import Registry
from cnn_jax.typed import convert

TOP = 5
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Metric:
    """A metric and how it is displayed.

    Attributes:
      per_example: maps (losses [n], logits [n, classes], labels [n]) to a value for each example.
      integer: whether the values are integers, whose sum is exact.
      higher_is_better: whether a higher mean is better.
      scale: a mean is displayed times this factor.
      unit: the unit of the displayed mean.
      difference_unit: the unit of a difference of two means.
      decimals: digits after the decimal point.
    """

    per_example: Callable[[Array, Array, Array], Array]
    integer: bool
    higher_is_better: bool
    scale: float
    unit: str
    difference_unit: str
    decimals: int

    def text(self, mean: float) -> str:
        """A mean as displayed, e.g. 0.9312 as '93.12 %'."""
        return f"{self.number(mean)} {self.unit}"

    def number(self, mean: float) -> str:
        """As `text`, without the unit."""
        return f"{self.scale * mean:.{self.decimals}f}"


def _loss(losses: Array, logits: Array, labels: Array) -> Array:
    return losses


def is_correct(losses: Array, logits: Array, labels: Array) -> Array:
    """Whether the largest logit (the first, if several are equal) is that of the label."""
    return logits.argmax(-1) == labels


def is_in_top(losses: Array, logits: Array, labels: Array) -> Array:
    """Whether fewer than five logits exceed that of the label; a NaN exceeds every other logit."""
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    return (~(own >= logits)).sum(-1) < TOP


def _share(per_example: Callable[[Array, Array, Array], Array]) -> Metric:
    return Metric(per_example, True, True, 100.0, "%", "points", 2)


METRICS: Registry[Metric] = Registry("metric")
METRICS.add("accuracy", _share(is_correct))
METRICS.add("loss", Metric(_loss, False, False, 1.0, "nats", "nats", 4))
METRICS.add(f"top{TOP}_accuracy", _share(is_in_top))
METRICS.seal()
SPLITS = ("validation", "test")


def register_metric(
    name: str, *, unit: str = "%", higher_is_better: bool = True, decimals: int | None = None
) -> Callable[[F], F]:
    """Registers a function of (logits [n, classes], labels [n]), or of (losses [n], logits, labels), that returns a
    value for each example [n]. Its mean is reported for every split of every run. With the unit "%" the values lie in
    0 … 1. Integers and booleans are summed exactly."""

    def add(function: F) -> F:
        takes_losses = len(inspect.signature(function).parameters) > 2
        per_example = function if takes_losses else lambda losses, logits, labels: function(logits, labels)
        shape = jax.ShapeDtypeStruct((1,), "float32"), jax.ShapeDtypeStruct((1, 10), "float32")
        integer = jax.eval_shape(per_example, *shape, jax.ShapeDtypeStruct((1,), "int32")).dtype.kind in "biu"
        percent = unit == "%"
        digits = (2 if percent else 4) if decimals is None else decimals
        difference = "points" if percent else unit
        METRICS.add(
            name, Metric(per_example, integer, higher_is_better, 100.0 if percent else 1.0, unit, difference, digits)
        )
        return function

    return add


def scores() -> tuple[str, ...]:
    """The scores that a finished run or cell can have: test.accuracy, validation.loss, …"""
    return tuple(f"{split}.{name}" for split in reversed(SPLITS) for name in METRICS)


def metric_of(score: str) -> Metric:
    """The metric of a score: the metric accuracy for test.accuracy."""
    return METRICS[score.partition(".")[2]]


class Totals(NamedTuple):
    """The sum of each metric over unmasked examples, and their number; totals of batches and devices can be added."""

    sums: dict[str, Array]
    examples: Array

    def __add__(self, other: "Totals") -> "Totals":  # type: ignore[override]
        return jax.tree.map(jnp.add, self, other)

    def means(self) -> dict[str, float]:
        """Each metric's mean over the examples, for totals on the host. NaN without examples."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return {name: float(np.float64(total) / np.float64(self.examples)) for name, total in self.sums.items()}


def zero() -> Totals:
    """The totals of no examples."""
    sums = {name: np.zeros((), np.int32 if metric.integer else np.float32) for name, metric in METRICS.items()}
    return Totals(sums, np.zeros((), np.int32))  # type: ignore[arg-type]


def totals(
    losses: Float[Array, " n"], logits: Float[Array, "n classes"], labels: Int[Array, " n"], mask: Float[Array, " n"]
) -> Totals:
    """The totals of one batch. `mask` is 1 for an example and 0 for padding, whose values are ignored, NaN included."""

    def total(metric: Metric) -> Array:
        values: Num[Array, " n"] | Bool[Array, " n"] = metric.per_example(losses, logits, labels)
        return jnp.where(mask > 0, values, 0).sum(dtype=jnp.int32 if metric.integer else None)

    sums = {name: total(metric) for name, metric in METRICS.items()}
    return Totals(sums, (mask > 0).sum(dtype=jnp.int32))


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one split, each a mean over all its `examples` examples."""

    means: Mapping[str, float]
    examples: int

    @classmethod
    def of(cls, totals: Totals) -> "Evaluation":
        return cls(totals.means(), int(totals.examples))

    @property
    def accuracy(self) -> float:
        return self.means["accuracy"]

    @property
    def loss(self) -> float:
        return self.means["loss"]

    @property
    def correct(self) -> int:
        """The number of correctly classified examples."""
        return round(self.accuracy * self.examples)

    def to_json(self) -> dict[str, Any]:
        return {**self.means, "examples": self.examples}

    @classmethod
    def from_json(cls, values: Any) -> "Evaluation":
        """The inverse of `to_json`. Needs accuracy, loss and examples; other metrics may be missing. Raises
        RequestError for anything else."""
        if not isinstance(values, dict):
            raise RequestError("an evaluation must be an object of metrics")
        means, examples = dict(values), values.get("examples")
        means.pop("examples", None)
        needed = {"accuracy", "loss"}
        if not needed <= means.keys() <= set(METRICS) or type(examples) is not int or examples < 1:
            raise RequestError(f"an evaluation must have accuracy, loss and examples, not {', '.join(values)}")
        for name, value in means.items():
            means[name] = convert(name, value, float)
            if not math.isfinite(means[name]) or (METRICS[name].integer and not 0 <= means[name] <= 1):
                raise RequestError(f"{name} = {value!r} is out of range")
        return cls(means, examples)


@dataclass(frozen=True)
class EpochMetrics:
    """A run at the end of an epoch.

    Attributes:
      epoch: number of epochs done.
      step: number of steps done.
      train: metrics of the training batches of the epoch, measured as they were trained on.
      validation: metrics of the validation split; None if the network is trained on those images too.
      learning_rate: of the last step.
      seconds: of training so far.
    """

    epoch: int
    step: int
    train: Evaluation
    validation: Evaluation | None
    learning_rate: float
    seconds: float = 0.0

    @property
    def rank(self) -> tuple[float, int]:
        """The key that the best epoch maximises: validation accuracy, then the earlier step."""
        assert self.validation is not None
        return self.validation.accuracy, -self.step

    def to_json(self) -> dict[str, Any]:
        """A line of metrics.jsonl."""
        validation = {} if self.validation is None else self.validation.means
        return {
            "epoch": self.epoch,
            "step": self.step,
            **{f"train_{name}": value for name, value in self.train.means.items()},
            **{f"validation_{name}": validation.get(name) for name in self.train.means},
            "learning_rate": self.learning_rate,
            "examples": 0 if self.validation is None else self.validation.examples,
            "train_examples": self.train.examples,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, values: Any) -> "EpochMetrics":
        """The inverse of `to_json`. Raises RequestError for anything else."""
        if not isinstance(values, dict):
            raise RequestError("a line of metrics must be an object")
        rest = dict(values)
        examples = {"train": rest.pop("train_examples", None), "validation": rest.pop("examples", None)}

        def split(name: str) -> Evaluation | None:
            means = {key.partition("_")[2]: rest.pop(key) for key in list(rest) if key.startswith(f"{name}_")}
            if name == "validation" and examples[name] == 0:
                return None
            return Evaluation.from_json({**means, "examples": examples[name]})

        train, validation = split("train"), split("validation")
        assert train is not None
        fields = {"epoch": int, "step": int, "learning_rate": float, "seconds": float}
        if rest.keys() != fields.keys():
            raise RequestError(f"a line of metrics must have {', '.join(fields)}")
        numbers = {name: convert(name, rest[name], kind) for name, kind in fields.items()}
        return cls(train=train, validation=validation, **numbers)
