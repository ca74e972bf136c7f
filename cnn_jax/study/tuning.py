"""A fair choice of hyperparameters: equally many random values for every arm, chosen by validation accuracy."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cnn_jax import randomness
from cnn_jax.report import figures

DRAWS = 8  # of each arm
MORE = 4  # of each arm, when the choice of one is on the edge of its space
WIDENINGS = 2
FACTOR = 8.0  # by which a space is widened

Value = float | None  # a validation accuracy; None for a value at which the median seed diverged


@dataclass(frozen=True)
class Space:
    """A range of positive values of a field of the config, drawn log-uniformly."""

    low: float
    high: float
    field: str = "learning_rate"

    def draws(self, count: int, round_: int) -> tuple[float, ...]:
        """One random value in each of `count` equal parts of the logarithmic range, ascending, with three digits."""
        share = (np.arange(count) + randomness.tuning(round_).uniform(size=count)) / count
        values = np.exp(math.log(self.low) + share * math.log(self.high / self.low))
        return tuple(float(f"{value:.3g}") for value in values)

    def beyond(self, above: bool) -> "Space":
        """The range next to this one."""
        if above:
            return Space(self.high, self.high * FACTOR, self.field)
        return Space(self.low / FACTOR, self.low, self.field)


@dataclass(frozen=True)
class Tuned:
    """The values tried for an arm, in order, with their median validation accuracies, and its chosen one. `on_edge` if
    it is the largest or smallest that was tried."""

    field: str
    tried: tuple[tuple[float, Value], ...]

    @property
    def chosen(self) -> float:
        return max(self.tried, key=lambda pair: -math.inf if pair[1] is None else pair[1])[0]

    @property
    def on_edge(self) -> bool:
        values = [value for value, _ in self.tried]
        return self.chosen in (min(values), max(values))


def tune(
    spaces: Mapping[str, Space], score: Callable[[str, int, Sequence[float]], Sequence[Value]]
) -> dict[str, Tuned]:
    """Tries values for each arm until no choice is on the edge, at most WIDENINGS times more.

    Args:
      spaces: the space of each arm.
      score: maps an arm, the number of the round and values to the median validation accuracy of each.

    Returns:
      What was tried for each arm: equally many values for all.
    """
    tried: dict[str, tuple[tuple[float, Value], ...]] = dict.fromkeys(spaces, ())
    nexts, widest, count = dict(spaces), dict(spaces), DRAWS
    for round_ in itertools.count():
        for arm, space in nexts.items():
            draws = space.draws(count, round_)
            tried[arm] += tuple(zip(draws, score(arm, round_, draws), strict=True))
        tuned = {arm: Tuned(space.field, tried[arm]) for arm, space in spaces.items()}
        if round_ == WIDENINGS or not any(one.on_edge for one in tuned.values()):
            return tuned
        count = MORE
        for arm, one in tuned.items():
            nexts[arm] = spaces[arm]
            if one.on_edge:
                nexts[arm] = widest[arm].beyond(one.chosen == max(value for value, _ in one.tried))
                low, high = min(widest[arm].low, nexts[arm].low), max(widest[arm].high, nexts[arm].high)
                widest[arm] = Space(low, high, spaces[arm].field)
    raise AssertionError("unreachable")


def expected_best(values: Sequence[Value]) -> list[float]:
    """The expected validation accuracy of the best of k random values, for k = 1 … the number of values
    (dodge2019show, 3.2); a value that diverged counts as 0."""
    ordered = np.sort([0.0 if value is None else value for value in values])
    shares = np.arange(len(ordered) + 1) / len(ordered)
    budgets = np.arange(1, len(ordered) + 1)[:, None]
    return list((ordered * np.diff(shares[None] ** budgets, axis=1)).sum(1))


def figure(tuned: Mapping[str, Tuned], caption: str) -> Figure:
    """The expected best validation accuracy over the number of values tried, a line for each arm."""
    with matplotlib.rc_context(figures.STYLE):
        drawn, plot = figures.subplots(figsize=(4.2, 3.0), layout="constrained")
        for i, (arm, one) in enumerate(tuned.items()):
            best = [100 * x for x in expected_best([value for _, value in one.tried])]
            colour = figures.COLOURS[i % len(figures.COLOURS)]
            plot.plot(range(1, len(best) + 1), best, figures.MARKERS[i % len(figures.MARKERS)] + "-", ms=3.5,
                      color=colour, label=figures.plain(arm))  # fmt: skip
        plot.set_xlabel("values tried")
        plot.set_ylabel("expected best validation accuracy (%)")
        plot.legend(frameon=False, fontsize=8)
        plot.set_title(caption, fontsize=8)
    return drawn
