"""The quantities that a reference can name: of a run, a sweep, a comparison, a study or a file of measurements.

Folders are read with the same readers as in `cite`, and refused for the same reasons.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnn_jax.errors import CnnJaxError, RequestError, RunError
from cnn_jax.grids.grid import show
from cnn_jax.metrics import SPLITS, metric_of, scores
from cnn_jax.report.compare import comparisons
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.manifest import digest
from cnn_jax.runs.outcome import Outcome, outcome_of, over_seeds, verdict_of
from cnn_jax.runs.verdict import Finding
from cnn_jax.statistics import Interval, median, median_interval

T_INTERVAL = 0.95
_SCORE = re.compile("accura|error|loss|score", re.I)


@dataclass(frozen=True)
class Quantity:
    """The value of a reference, and what the words around it must not contradict: `measure`, `split`, `statistic` and
    `answer` (None: unknown)."""

    value: float
    unit: str = ""  # '%', 'points', 'nats', 's', or '' for a count or a plain number
    decimals: int = 0  # when printed
    exact: bool = False  # to be written with all of its digits: a count, a published number
    signed: bool = False
    measure: str | None = None
    split: str | None = None
    statistic: str | None = None
    n: int | None = None
    interval: Interval | None = None  # in the same unit
    answer: str | None = None
    outcome: Outcome | None = None  # the run or sweep, with its data, network and settings
    cell: dict[str, Any] | None = None  # if it is not the chosen cell
    failed: tuple[int, int] = (0, 0)  # (diverged, at chance) among the n
    end_of: str | None = None  # name of the quantity whose interval ends here

    def text(self, value: float | None) -> str:
        """A value of this quantity, without its unit."""
        if value is None:
            return "diverged"
        return f"{value:{'+' if self.signed else ''},.{self.decimals}f}"

    @property
    def written(self) -> str:
        return f"{self.text(self.value)} {self.unit}".strip()

    @property
    def range(self) -> str:
        """The interval with its kind, as a note should state it."""
        if self.interval is None:
            return "one run, no interval" if self.n == 1 else ""
        dash = "to" if self.signed else "–"
        ends = f"{self.text(self.interval.low)} {dash} {self.text(self.interval.high)}"
        return f"{self.interval.kind} {ends} {self.unit}".strip()

    @property
    def count(self) -> str:
        """'n = 6, of which 1 diverged and 2 at chance'."""
        words = [f"{count} {how}" for count, how in zip(self.failed, ("diverged", "at chance"), strict=True) if count]
        return f"n = {self.n}" + (f", of which {' and '.join(words)}" if words else "")


Quantities = dict[str, Quantity]


class NoteFolders:
    """The folders that one note refers to, each read once."""

    def __init__(self, home: Path):
        self.home = home
        self._read: dict[str, Quantities | CnnJaxError] = {}
        self._digests: dict[str, str] = {}

    def follow(self, path: str, what: str | None) -> Quantity:
        """The quantity that a reference names. Raises RequestError, with the available quantities, if it does not
        exist, and RunError for a folder that is damaged or must not be cited."""
        if path not in self._read:
            try:
                self._read[path] = _of(self.home, path)
            except CnnJaxError as error:
                self._read[path] = error
            except OSError as error:
                self._read[path] = RequestError(f"refers to {path}, which cannot be read: {error.strerror}")
        known = self._read[path]
        if isinstance(known, CnnJaxError):
            raise known
        if what is None:
            raise RequestError(f"names no quantity: write run:{path}#QUANTITY, one of {_listed(known)}")
        if what not in known:
            raise RequestError(f"refers to {what}, which {path} does not have; there are {_listed(known)}")
        return known[what]

    def digest(self, path: str) -> str:
        """The digest of the present content of a folder or file, or of both folders of a comparison."""
        if path not in self._digests:
            parts = [digest(part) for part in _paths(self.home, path)]
            joined = parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()[:12]
            self._digests[path] = joined
        return self._digests[path]


def _listed(known: Quantities) -> str:
    names = [name for name in known if not name.endswith((".low", ".high"))]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _paths(home: Path, path: str) -> list[Path]:
    """One path, or the two of a comparison."""
    if "," in path and not (home / path).exists():
        return [home / part.strip() for part in path.split(",", 1)]
    return [home / path]


def _of(home: Path, path: str) -> Quantities:
    paths = _paths(home, path)
    for part in paths:
        if not part.exists():
            raise RequestError(f"refers to {path}, but there is no {part}")
    if len(paths) == 2:
        return _of_comparison(paths)
    if paths[0].is_file():
        return _of_file(paths[0])
    if (paths[0] / "verdict.json").exists():
        return _of_study(paths[0])
    return _of_outcome(outcome_of(paths[0]))


def _of_file(path: Path) -> Quantities:
    """Measurements in a JSON file outside any run; an accuracy, error or loss in it cannot be referred to."""
    for parent in list(path.resolve().parents)[:3]:
        if (parent / "config.json").exists() or (parent / "verdict.json").exists():
            raise RequestError(f"refers to {path}, a file of a run: refer to the folder of the run, sweep or study")
    if path.suffix != ".json":
        raise RequestError(f"refers to {path}, which is neither a folder nor a JSON file")
    numbers = _numbers(Folder(path.parent).read_json(path.name))
    return {
        name: Quantity(value, "s" if name.endswith("seconds") else "", _decimals(value), measure="other")
        for name, value in numbers
        if not _SCORE.search(name)
    }


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in nested objects and lists, by dotted names."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) < 1e300:
            yield name, float(value)
    elif isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(child, f"{name}.{key}" if name else str(key))


def _with_ends(name: str, quantity: Quantity) -> Quantities:
    """A quantity and the ends of its interval."""
    known = {name: quantity}
    if quantity.interval is not None:
        for end in ("low", "high"):
            if (value := getattr(quantity.interval, end)) is not None:
                known[f"{name}.{end}"] = replace(quantity, value=value, interval=None, n=None, end_of=name)
    return known


def _count(value: float) -> Quantity:
    return Quantity(value, exact=True)


def _of_outcome(outcome: Outcome) -> Quantities:
    known: Quantities = {}
    for score in scores():
        try:
            values = outcome.by_seed(score)
        except RunError:
            continue  # not measured
        known |= _of_score(outcome, score, list(values.values()), (outcome.diverged, outcome.at_chance))
    known |= {
        "n": _count(outcome.n),
        "diverged": _count(outcome.diverged),
        "at_chance": _count(outcome.at_chance),
        "parameters": _count(outcome.parameters),
        "epochs": _count(outcome.config.epochs),
        "test_images": _count(outcome.test_images),
    }
    return known | _of_seconds(outcome) | _of_cells(outcome)


def _of_score(
    outcome: Outcome, score: str, values: Sequence[float | None], failed: tuple[int, int], cell: Any = None
) -> Quantities:
    """A score as the median over seeds with its interval, or of one run; for an accuracy also the error. Empty if the
    median seed diverged."""
    split, _, name = score.partition(".")
    metric = metric_of(score)
    middle, interval_of_seeds = over_seeds(values, metric)
    if middle is None:
        return {}
    interval = interval_of_seeds if len(values) > 1 else None

    def quantity(measure: str, of: Callable[[float], float], mirrored: bool) -> Quantity:
        ends = None
        if interval is not None:
            low, high = (None if end is None else metric.scale * of(end) for end in (interval.low, interval.high))
            ends = replace(interval, low=high if mirrored else low, high=low if mirrored else high)
        return Quantity(
            metric.scale * of(middle), metric.unit, metric.decimals, measure=measure, split=split,
            statistic="single" if len(values) == 1 else "median", n=len(values), interval=ends, outcome=outcome,
            cell=cell, failed=failed,
        )  # fmt: skip

    known = _with_ends(score, quantity(name, lambda x: x, False))
    if name.endswith("accuracy"):
        error = name.replace("accuracy", "error")
        known |= _with_ends(f"{split}.{error}", quantity(error, lambda x: 1.0 - x, True))
    return known


def _of_seconds(outcome: Outcome) -> Quantities:
    """The training time per seed, without compilation."""
    if outcome.table is None:
        seconds = [Folder(outcome.folder.path).read_json("result.json")["train_seconds"]]
    else:
        seconds = [row.seconds for row in outcome.table.chosen_trials()]
    interval = median_interval(seconds) if len(seconds) > 1 else None
    quantity = Quantity(
        float(median(seconds) or 0.0), "s", 1, measure="other", statistic="single" if interval is None else "median",
        n=len(seconds), interval=interval, outcome=outcome,
    )  # fmt: skip
    return _with_ends("train_seconds", quantity)


def _of_cells(outcome: Outcome) -> Quantities:
    """The validation accuracy of every cell of a sweep, named by the cell's values."""
    known: Quantities = {}
    table = outcome.table
    for i, cell in enumerate(table.grid.cells() if table is not None else ()):
        assert table is not None
        rows = table.by_cell[i]
        failed = sum(row.status == "diverged" for row in rows), sum(row.at_chance is True for row in rows)
        of_cell = _of_score(outcome, "validation.accuracy", table.accuracies(i), failed, cell)
        for name in {",".join(f"{axis}={form(value)}" for axis, value in cell.items()) for form in (str, show)}:
            known |= {
                f"cell[{name}]{suffix.removeprefix('validation.accuracy')}": quantity
                for suffix, quantity in of_cell.items()
                if suffix.startswith("validation.accuracy")
            }
            known |= {f"cell[{name}].diverged": _count(failed[0]), f"cell[{name}].at_chance": _count(failed[1])}
    return known


def _of_comparison(paths: list[Path]) -> Quantities:
    """For A,B the mean paired difference A - B over the common seeds."""
    a, b = (outcome_of(path) for path in paths)
    known: Quantities = {}
    for score in scores():
        try:
            (compared,) = comparisons([paths[1], paths[0]], score)
        except RunError:
            continue
        finished, metric = compared.test.finished, metric_of(score)
        if finished is None:
            continue
        split, _, measure = score.partition(".")
        quantity = Quantity(
            finished.difference, metric.difference_unit, metric.decimals, signed=True, measure=measure, split=split,
            statistic="mean", n=finished.n, interval=_t_interval(finished.low, finished.high),
            failed=(compared.test.failed_a + compared.test.failed_b, 0),
        )  # fmt: skip
        known |= _with_ends(f"{score}.difference", quantity)
        if compared.p is not None:
            known[f"{score}.difference.p"] = Quantity(compared.p, decimals=_decimals(compared.p))
    if not known:
        raise RunError(f"{a.folder.path} and {b.folder.path} share fewer than 2 seeds that finished")
    return known


def _t_interval(low: float, high: float) -> Interval:
    return Interval(low, high, "95 % t interval", T_INTERVAL)


def _of_study(path: Path) -> Quantities:
    return _of_finding(verdict_of(path).finding)


def _of_finding(finding: Finding) -> Quantities:
    known: Quantities = {}
    if finding.effect is not None:
        exact = finding.low is None or finding.high is None
        unit = finding.unit if finding.unit in ("points", "nats", "%", "s") else ""
        failures = finding.failures
        effect = Quantity(
            finding.effect, unit, 2 if unit == "points" else _decimals(finding.effect), signed=not exact,
            measure=_measure_in(finding.statistic), split=next((s for s in SPLITS if s in finding.statistic), None),
            statistic=None if exact else "mean", n=None if exact else finding.n,
            interval=None if exact else _t_interval(float(finding.low or 0), float(finding.high or 0)),
            answer=finding.answer, failed=(failures.a + failures.b, 0) if failures else (0, 0),
        )  # fmt: skip
        known |= _with_ends("effect", effect)
    if finding.p is not None:
        known["p"] = Quantity(finding.p, decimals=_decimals(finding.p), answer=finding.answer)
    known["n"] = _count(finding.n)
    if finding.failures is not None:
        for name in ("a", "b", "n"):
            known[f"failures.{name}"] = _count(getattr(finding.failures, name))
    for name, value in _numbers(finding.more, "more"):
        known[name] = Quantity(value, decimals=_decimals(value))
    return known


def _measure_in(statistic: str) -> str | None:
    """The measure named in a study's statistic."""
    return next((name for name in ("accuracy", "error", "loss") if name in statistic), None)


def _decimals(value: float) -> int:
    """The decimals that show three significant digits."""
    return max(0, 2 - math.floor(math.log10(abs(value)))) if value and abs(value) >= 1e-12 else 2
