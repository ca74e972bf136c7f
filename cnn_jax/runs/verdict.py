"""The verdict of a study: the question, the decision rule, and the underlying numbers."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cnn_jax import schema
from cnn_jax.errors import RequestError, RunError
from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.schema import SCHEMA, Provenance
from cnn_jax.statistics import SEEDS_FOR_A_VERDICT, compare_with_failures, detectable, equivalent

Answer = Literal["supported", "contradicted", "equivalent", "undecided"]
Block = Literal["pilot", "verdict", "replication", "own"]  # of seeds
Standing = Literal["registered", "exploratory", "exact"]
Pair = tuple[float | None, float | None]  # two values of one seed; None for a run that diverged
PAIRS = "pairs.csv"
LEVEL = 0.05


@dataclass(frozen=True)
class Failures:
    """The numbers of diverged runs among the n of each arm, and the p value of Fisher's exact test for equal rates."""

    a: int
    b: int
    n: int
    p: float


@dataclass(frozen=True)
class Finding:
    """An effect in `unit` with its interval (of the kind `interval`) over `n` pairs, and the answer of the rule.

    With pairs, the effect is the mean of a - b over the seeds that finished in both arms, and `answer` follows from
    `above`, `below`, `margin` and `failures_decide` as in `paired`; `deviation` is that of the differences, and
    `detectable` the true effect that would have been found with 80 % power. Without pairs, it is an exact number.
    `more` are further numbers without a verdict.
    """

    statistic: str
    unit: str
    effect: float | None
    low: float | None
    high: float | None
    interval: str
    p: float | None
    n: int
    answer: Answer
    above: float | None = None
    below: float | None = None
    margin: float | None = None
    deviation: float | None = None
    detectable: float | None = None
    failures_decide: bool = False
    failures: Failures | None = None
    at_chance: tuple[int, int] | None = None  # runs of each arm; their values count
    more: dict[str, Any] = field(default_factory=dict)
    pairs: tuple[Pair, ...] = ()

    @classmethod
    def paired(
        cls,
        statistic: str,
        unit: str,
        a: Sequence[float | None],
        b: Sequence[float | None],
        more: dict[str, Any] | None = None,
        *,
        above: float = 0.0,
        below: float | None = None,
        margin: float | None = None,
        failures_decide: bool = False,
        at_chance: tuple[int, int] | None = None,
    ) -> "Finding":
        """Compares a and b, values over the same seeds in the same order. Diverged runs (None) are left out of the mean
        and counted.

        The answer is "equivalent" if a - b lies within ± `margin` by two one-sided tests at 5 % (that is, if its 90 % t
        interval does). Else it is "supported" if the 95 % t interval of a - b lies above `above` (and below `below`, if
        given), "contradicted" if it lies outside, else "undecided", as with fewer than SEEDS_FOR_A_VERDICT finished
        pairs. With `failures_decide` it is also supported if b fails more often than a (Fisher's exact test, p < 0.05),
        contradicted if a fails more often, and undecided if failures and interval disagree. `p` tests whether the mean
        of a - b equals `above`; it is None if `below` is given.
        """
        test = compare_with_failures([None if x is None else x - above for x in a], b)
        failures = Failures(test.failed_a, test.failed_b, test.n_a, test.p)
        effect: float | None = None
        low: float | None = None
        high: float | None = None
        p: float | None = None
        deviation: float | None = None
        interval, n = "none", 0
        same = False
        if test.finished is not None:
            deviation = test.finished.deviation
            if margin is not None:
                same = equivalent(*_both([None if x is None else x - above for x in a], b), margin).equivalent
            effect, low, high = (above + x for x in (test.finished.difference, test.finished.low, test.finished.high))
            interval, n = "95 % t interval", test.finished.n
            p = test.finished.p if below is None else None
        of_interval = _of_interval(low, high, n, above, below, same)
        answers = {of_interval, _of_failures(failures) if failures_decide else None}
        answer, *contradiction = (answers - {None}) or {None}
        return cls(
            statistic, unit, effect, low, high, interval, p, n,
            "undecided" if answer is None or contradiction else answer, above, below, margin, deviation,
            None if deviation is None else detectable(deviation, n), failures_decide, failures, at_chance, more or {},
            tuple(zip(a, b, strict=True)),
        )  # fmt: skip

    @classmethod
    def exact(
        cls, statistic: str, unit: str, effect: float, holds: bool, more: dict[str, Any] | None = None
    ) -> "Finding":
        """A computed, not sampled, number; supported if it `holds`, i.e. is as expected."""
        answer: Answer = "supported" if holds else "contradicted"
        return cls(statistic, unit, effect, None, None, "exact", None, 1, answer, more=more or {})


@dataclass(frozen=True)
class Registered:
    """The file in which a study was registered: its name, sha256, and the commit and time with exactly this content
    (None: none has it)."""

    file: str
    sha256: str
    commit: str | None
    committed: str | None


@dataclass(frozen=True)
class Verdict:
    """verdict.json: the key of the claim, the question, the rule stated in advance, the finding, and how and where it
    was obtained, with which block of seeds. `quick` marks the short form for tests, whose verdict does not count.
    `objections` are the reasons why it is not a registered verdict; one of an exact number has none."""

    claim: str
    question: str
    rule: str
    dataset: str
    seeds: tuple[int, ...]
    quick: bool
    block: Block
    options: dict[str, str]
    registration: Registered | None
    objections: tuple[str, ...]
    finding: Finding
    seconds: float
    provenance: Provenance
    finished: str
    schema: int = SCHEMA

    @property
    def standing(self) -> Standing:
        return "exploratory" if self.objections else "registered" if self.finding.above is not None else "exact"

    def write(self, folder: Folder) -> None:
        """Writes verdict.json and its pairs."""
        if self.finding.pairs:
            folder.write_text(PAIRS, _to_csv(self.finding.pairs))
        values = schema.to_json(self)
        del values["finding"]["pairs"]
        folder.write_json("verdict.json", values)

    @classmethod
    def read(cls, folder: Folder) -> "Verdict":
        """Reads a verdict. Raises RunError if it is damaged or does not follow from its pairs by the rule."""
        values = folder.read_json("verdict.json")
        try:
            if not isinstance(values, dict) or not isinstance(values.get("finding"), dict):
                raise RequestError("it has no finding")
            if "schema" not in values:
                raise RequestError("it was written by an earlier version")
            pairs = _from_csv(folder.read_text(PAIRS)) if folder.has(PAIRS) else ()
            values["finding"]["pairs"] = [list(pair) for pair in pairs]
            verdict = schema.from_json(cls, values, "verdict")
        except (RequestError, ValueError, KeyError) as error:
            raise RunError(f"{folder.file('verdict.json')} is damaged: {str(error)[:200]}") from None
        if difference := verdict.finding_differs():
            raise RunError(f"{folder.file('verdict.json')} does not follow from {PAIRS}: {difference}")
        return verdict

    @classmethod
    def open(cls, path: Path | str) -> "Verdict":
        """Like `read`, but also raises RunError if the folder was changed since it was finished."""
        folder = Folder(path)
        verdict = cls.read(folder)
        manifest.verify(folder)
        for child in sorted(folder.path.glob(f"*/{manifest.NAME}")):
            manifest.verify(Folder(child.parent))
        return verdict

    def finding_differs(self) -> str | None:
        """How the finding differs from the one that its pairs give by the rule; None if it does not."""
        finding = self.finding
        if finding.above is None:
            return None
        a, b = ([pair[i] for pair in finding.pairs] for i in (0, 1))
        expected = Finding.paired(
            finding.statistic,
            finding.unit,
            a,
            b,
            above=finding.above,
            below=finding.below,
            margin=finding.margin,
            failures_decide=finding.failures_decide,
        )
        names = ("effect", "low", "high", "p", "n", "answer", "failures", "interval", "deviation", "detectable")
        for name in names:
            old, new = getattr(finding, name), getattr(expected, name)
            both = isinstance(old, float) and isinstance(new, float)
            if not (math.isclose(old, new, rel_tol=1e-9, abs_tol=1e-12) if both else old == new):
                return f"{name} should be {new}, not {old}"
        return None


def _both(a: Sequence[float | None], b: Sequence[float | None]) -> tuple[list[float], list[float]]:
    """The values of the seeds that finished in both arms."""
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _of_interval(
    low: float | None, high: float | None, n: int, above: float, below: float | None, same: bool
) -> Answer | None:
    """The answer from the interval of the mean difference; None if it gives none."""
    if low is None or high is None or n < SEEDS_FOR_A_VERDICT:
        return None
    if same:
        return "equivalent"
    if low > above and (below is None or high < below):
        return "supported"
    return "contradicted" if high < above or (below is not None and low > below) else None


def _of_failures(failures: Failures) -> Answer | None:
    """The answer if one arm fails significantly more often than the other, else None."""
    if failures.p >= LEVEL or failures.n < SEEDS_FOR_A_VERDICT:
        return None
    return "supported" if failures.b > failures.a else "contradicted"


def _to_csv(pairs: Sequence[Pair]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("a", "b"))
    writer.writerows(["" if value is None else repr(float(value)) for value in pair] for pair in pairs)
    return text.getvalue()


def _from_csv(text: str) -> tuple[Pair, ...]:
    head, *rows = csv.reader(io.StringIO(text))
    if head != ["a", "b"] or any(len(row) != 2 for row in rows):
        raise RequestError(f"{PAIRS} must have the columns a and b")
    return tuple((float(a) if a else None, float(b) if b else None) for a, b in rows)
