"""The verdict of a study: what was asked, by which rule it is judged, and the numbers that it rests on."""

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
from cnn_jax.statistics import SEEDS_FOR_A_VERDICT, compare_with_failures

Answer = Literal["supported", "not supported", "inconclusive"]
Pair = tuple[float | None, float | None]  # two values of one seed; None for a run that diverged
PAIRS = "pairs.csv"


@dataclass(frozen=True)
class Failures:
    """How many of the n runs of each of two arms diverged, and the p value of Fisher's exact test that both fail
    equally often."""

    a: int
    b: int
    n: int
    p: float


@dataclass(frozen=True)
class Finding:
    """An effect in `unit`, its interval (`interval` says of what kind), over `n` pairs, and what the rule makes of it.

    With pairs the effect is the mean of a - b over those that finished in both, and `answer` is 'supported' if its 95 %
    t interval lies above `above`; without, it is an exact number. `more` are numbers without a verdict.
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
    failures: Failures | None = None
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
    ) -> "Finding":
        """Of a and b over the same seeds in the same order. A run that diverged (None) takes part in no mean: it is
        counted. Below SEEDS_FOR_A_VERDICT finished pairs the answer is 'inconclusive'. `p` is of the test that the mean
        of a - b is `above`."""
        test = compare_with_failures([None if x is None else x - above for x in a], b)
        failures = Failures(test.failed_a, test.failed_b, test.n_a, test.p)
        found = test.finished
        pairs = tuple(zip(a, b, strict=True))
        if found is None:
            return cls(
                statistic, unit, None, None, None, "none", None, 0, "inconclusive", above, failures, more or {}, pairs
            )  # fmt: skip
        answer: Answer = "inconclusive"
        if found.n >= SEEDS_FOR_A_VERDICT:
            answer = "supported" if found.low > 0 else "not supported" if found.high < 0 else answer
        effect, low, high = (value + above for value in (found.difference, found.low, found.high))
        return cls(
            statistic, unit, effect, low, high, "95 % t interval", found.p, found.n, answer, above, failures,
            more or {}, pairs,
        )  # fmt: skip

    @classmethod
    def exact(
        cls, statistic: str, unit: str, effect: float, holds: bool, more: dict[str, Any] | None = None
    ) -> "Finding":
        """A number that is computed and not sampled, and whether it is as expected."""
        answer: Answer = "supported" if holds else "not supported"
        return cls(statistic, unit, effect, None, None, "exact", None, 1, answer, more=more or {})


@dataclass(frozen=True)
class Verdict:
    """verdict.json: the key of the claim, the question, the rule that was stated before, what was found, how and
    where. `quick` marks the form that tests run, whose verdict counts for nothing."""

    claim: str
    question: str
    rule: str
    dataset: str
    seeds: tuple[int, ...]
    quick: bool
    options: dict[str, str]
    finding: Finding
    seconds: float
    provenance: Provenance
    finished: str
    schema: int = SCHEMA

    def write(self, folder: Folder) -> None:
        """verdict.json and the pairs that it rests on."""
        if self.finding.pairs:
            folder.write_text(PAIRS, _to_csv(self.finding.pairs))
        values = schema.to_json(self)
        del values["finding"]["pairs"]
        folder.write_json("verdict.json", values)

    @classmethod
    def read(cls, folder: Folder) -> "Verdict":
        """RunError for a file that is damaged, and where the pairs and the rule give another finding."""
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
        """As `read`, of a folder that must be as it was when it was finished."""
        folder = Folder(path)
        verdict = cls.read(folder)
        manifest.verify(folder)
        for child in sorted(folder.path.glob(f"*/{manifest.NAME}")):
            manifest.verify(Folder(child.parent))
        return verdict

    def finding_differs(self) -> str | None:
        """In what the finding is not the one that its pairs give by the rule; None where it is."""
        said = self.finding
        if said.above is None:
            return None
        a, b = ([pair[i] for pair in said.pairs] for i in (0, 1))
        again = Finding.paired(said.statistic, said.unit, a, b, above=said.above)
        for name in ("effect", "low", "high", "p", "n", "answer", "failures", "interval"):
            old, new = getattr(said, name), getattr(again, name)
            both = isinstance(old, float) and isinstance(new, float)
            if not (math.isclose(old, new, rel_tol=1e-9, abs_tol=1e-12) if both else old == new):
                return f"{name} should be {new}, not {old}"
        return None


def _to_csv(pairs: Sequence[Pair]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("a", "b"))
    writer.writerows(["" if value is None else repr(value) for value in pair] for pair in pairs)
    return text.getvalue()


def _from_csv(text: str) -> tuple[Pair, ...]:
    head, *rows = csv.reader(io.StringIO(text))
    if head != ["a", "b"] or any(len(row) != 2 for row in rows):
        raise RequestError(f"{PAIRS} must have the columns a and b")
    return tuple((float(a) if a else None, float(b) if b else None) for a, b in rows)
