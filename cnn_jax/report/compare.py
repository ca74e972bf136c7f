"""Compares runs and sweeps seed by seed, and the cells of one sweep with the best cell."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cnn_jax.errors import RequestError
from cnn_jax.metrics import metric_of
from cnn_jax.report import tables
from cnn_jax.runs.outcome import Outcome, over_seeds
from cnn_jax.statistics import (
    MOST_FLIPS,
    SEEDS_FOR_A_VERDICT,
    Equivalence,
    WithFailures,
    compare_with_failures,
    detectable,
    equivalent,
    holm,
    seeds_needed,
    sign_flips,
)

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """An outcome against a reference over their common seeds, in the unit of the score (points, nats)."""

    name: str
    values: list[float | None]  # by seed; None: diverged
    reference: list[float | None]  # the same seeds
    test: WithFailures
    p: float | None  # paired t test over the seeds that finished in both, Holm-corrected; None: too few of them
    equivalence: Equivalence | None
    family: int  # number of comparisons

    @property
    def verdict(self) -> str:
        """'different' or 'not distinguishable'; with a margin also 'equivalent', 'different, but equivalent' or
        'undecided'; or the reason why there is no verdict."""
        if self.p is None or self.test.finished is None:
            n = self.test.finished.n if self.test.finished else 0
            return f"none: {n} seeds finished in both, {SEEDS_FOR_A_VERDICT} are needed"
        different = self.p < LEVEL
        if self.equivalence is not None and self.equivalence.equivalent:
            return "different, but equivalent" if different else "equivalent"
        if different:
            return "different"
        return "not distinguishable" if self.equivalence is None else "undecided"

    @property
    def detectable(self) -> float | None:
        """The smallest true difference detectable with 80 % power at the level corrected for the family."""
        if self.test.finished is None or self.p is None:
            return None
        return detectable(self.test.finished.deviation, self.test.finished.n, LEVEL / self.family)


def comparisons(paths: Sequence[Path], score: str, margin: float | None = None) -> list[Comparison]:
    """Compares every outcome after the first with the first.

    Args:
        paths: folders of runs or sweeps.
        score: one of `metrics.scores()`.
        margin: of equivalence, in the unit of the score.

    Raises:
        RequestError: the outcomes were not scored on the same images.
    """
    first, *others = [Outcome.load(path) for path in paths]
    scale = metric_of(score).scale
    reference = first.by_seed(score)
    rows: list[tuple[str, list[float | None], list[float | None]]] = []
    for path, other in zip(paths[1:], others, strict=True):
        _refuse_other_images(first, other)
        values = other.by_seed(score)
        seeds = sorted(reference.keys() & values.keys())
        a, b = ([_scaled(by_seed[seed], scale) for seed in seeds] for by_seed in (values, reference))
        rows.append((str(path), a, b))
    tests = [compare_with_failures(a, b) for _, a, b in rows]
    p_values = [t.finished.p for t in tests if t.finished is not None and t.finished.n >= SEEDS_FOR_A_VERDICT]
    corrected = iter(holm(p_values))
    results = []
    for (name, a, b), test in zip(rows, tests, strict=True):
        enough = test.finished is not None and test.finished.n >= SEEDS_FOR_A_VERDICT
        equivalence = equivalent(*finished_in_both(a, b), margin) if margin is not None and enough else None
        results.append(Comparison(name, a, b, test, next(corrected) if enough else None, equivalence, len(rows)))
    return results


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else scale * value


def finished_in_both(a: Sequence[float | None], b: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """The values of the seeds that finished in both."""
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    return [x for x, _ in both], [y for _, y in both]


def compare(paths: Sequence[Path], score: str, *, detect: float | None = None, margin: float | None = None) -> str:
    """A Markdown table that compares every outcome after the first with the first, over their common seeds. The cells
    of a single sweep are compared with its best cell, on validation accuracy, since only the chosen cell is scored on
    the test split.

    Args:
        paths: folders of runs or sweeps.
        score: one of `metrics.scores()`.
        detect: a true difference in the unit of the score; the table states how many seeds would detect it with 80 %
            power.
        margin: differences within it are equivalent if two one-sided tests confirm it.

    Raises:
        RequestError: the outcomes were not scored on the same images, or options do not fit a single sweep.
    """
    if len(paths) == 1:
        if margin is not None or detect is not None:
            raise RequestError("--margin and --detect compare runs or sweeps: name two")
        return _cells(Outcome.load(paths[0]))
    metric, rows = metric_of(score), comparisons(paths, score, margin)
    table = pd.DataFrame([_row(row, metric.difference_unit, detect, margin) for row in rows])
    middle, _ = over_seeds(list(Outcome.load(paths[0]).by_seed(score).values()), metric)
    heading = f"{score} against {paths[0]} (median {'diverged' if middle is None else metric.text(middle)})"
    return f"{heading}\n\n{tables.markdown(table)}\n{_legend(len(rows), metric.difference_unit, detect, margin)}\n"


def _row(comparison: Comparison, unit: str, detect: float | None, margin: float | None) -> dict[str, str]:
    test, finished = comparison.test, comparison.test.finished
    row = {"against the first": comparison.name, "n": str(len(comparison.values)), f"mean difference, {unit}": "–"}
    row |= {"95 % t interval": "–", "p (t, Holm)": "–", "p (sign flips)": "–"}
    if finished is not None:
        a, b = finished_in_both(comparison.values, comparison.reference)
        row |= {
            f"mean difference, {unit}": f"{finished.difference:+.3g}",
            "95 % t interval": f"{finished.low:+.3g} – {finished.high:+.3g}",
            "p (t, Holm)": "–" if comparison.p is None else f"{comparison.p:.2g}",
            "p (sign flips)": f"{sign_flips(a, b):.2g}" if finished.n <= MOST_FLIPS else "–",
        }
    elif not comparison.values:
        row["n"] = "no seed in common"
    failed = test.failed_a or test.failed_b
    row["diverged, here and in the first"] = f"{test.failed_a} and {test.failed_b}"
    row["p (Fisher)"] = f"{test.p:.2g}" if failed else "–"
    if margin is not None:
        row[f"p (equivalent within {margin:g})"] = f"{comparison.equivalence.p:.2g}" if comparison.equivalence else "–"
    row["verdict"] = comparison.verdict
    if comparison.verdict in ("not distinguishable", "undecided"):
        row["verdict"] += f" (80 % power from {comparison.detectable:.3g})"
    if detect is not None:
        row[f"seeds to find {detect:g}"] = (
            str(seeds_needed(finished.deviation, detect, finished.n)) if finished else "–"
        )
    return row


def _legend(family: int, unit: str, detect: float | None, margin: float | None) -> str:
    lines = [
        "Paired by seed, over the seeds that finished in both; a seed that diverged has no value and is counted. The "
        f"verdict rests on the t test at {LEVEL}" + (f", corrected for {family} comparisons." if family > 1 else "."),
        "In brackets the smallest true difference that it would have found with probability 0.8.",
    ]
    if margin is not None:
        lines.append(f"Equivalent: within ±{margin:g} {unit} by two one-sided t tests at {LEVEL}.")
    if detect is not None:
        lines.append(
            f"Seeds to find a true difference of {detect:g} {unit} with probability 0.8, and their 95 % interval, by "
            "the deviation seen here."
        )
    return " ".join(lines)


def _cells(outcome: Outcome) -> str:
    """Compares each cell of a sweep with the best of the others."""
    if outcome.table is None or len(outcome.table.grid.cells()) < 2:
        raise RequestError(f"{outcome.folder.path} has nothing to be compared with: name another run or sweep")
    table = tables.for_reader(outcome.table.summary(), outcome.table.grid.cell_axes)
    legend = (
        "Each cell against the best of the others, paired by seed: mean difference in points with simultaneous 95 % "
        "intervals, valid although the same values say which cell is best (multiple comparisons with the best); in "
        "brackets the smallest true difference that would have been found with probability 0.8. A cell with a seed "
        f"that diverged, or with fewer than {SEEDS_FOR_A_VERDICT} seeds, is not compared."
    )
    return f"validation.accuracy of {outcome.folder.path}\n\n{tables.markdown(table)}\n{legend}\n"


def _refuse_other_images(first: Outcome, other: Outcome) -> None:
    """Raises RequestError if the outcomes were not scored on the same images."""
    for what, a, b in (
        ("data", first.data.name, other.data.name),
        ("the seed of the split", first.config.split_seed, other.config.split_seed),
        ("the size of the images", first.data.image_shape, other.data.image_shape),
        ("the number of test images", first.data.splits["test"], other.data.splits["test"]),
        ("the number of validation images", first.data.splits["validation"], other.data.splits["validation"]),
    ):
        if a != b:
            raise RequestError(f"{other.folder.path} and {first.folder.path} differ in {what}: {b} and {a}")
