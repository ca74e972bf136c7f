"""A registered study: what will be trained, measured and decided, written to a file and committed before it is.

The file has the question, the rule, the tuned arms, the seeds, and the hash of the code that will decide. A verdict is
`registered` only if its trials began after the commit of the file, with these seeds, and if nothing of it has changed.
"""

import ast
import dataclasses
import datetime
import functools
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnn_jax import schema
from cnn_jax.errors import RequestError
from cnn_jax.runs.provenance import last_commit
from cnn_jax.runs.verdict import Block, Registered, Verdict
from cnn_jax.statistics import SEEDS_FOR_A_VERDICT, detectable, seeds_needed

FOLDER = "registered"  # beside the experiment's script
FIRST_SEED = 100  # lower seeds are for pilots
BLOCK = 50  # seeds for the verdict, and as many for the replication
LEAST_SEEDS = 8
LATER = {"later": True}  # may be missing: TOML has no null


@dataclass(frozen=True)
class OnData:
    """The part of a registration for one data set.

    Attributes:
      dataset: the data set.
      pilot_seeds: the seeds of the pilot.
      deviation: the standard deviation of the pilot's paired differences.
      seeds: the seeds of the verdict.
      replication_seeds: the seeds of its replication.
      detectable: the effect that so many seeds find with 80 % power.
      chosen: the tuned fields of each arm.
      seconds: how long the pilot took.
      needed: the seeds that find the smallest effect of interest with 80 % power; None: more than 10,000.
    """

    dataset: str
    pilot_seeds: tuple[int, ...]
    deviation: float
    seeds: tuple[int, ...]
    replication_seeds: tuple[int, ...]
    detectable: float
    chosen: dict[str, dict[str, Any]]
    seconds: float
    needed: int | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class Registration:
    """What a study will do, as written in its file."""

    claim: str
    question: str
    expectation: str
    rule: str
    statistic: str
    unit: str
    stopping: str
    arms: dict[str, dict[str, Any]]
    analysis: str
    data: tuple[OnData, ...]
    smallest_effect: float | None = field(default=None, metadata=LATER)
    path: Path | None = field(default=None, metadata=LATER)  # of the file, which does not say it

    @classmethod
    def read(cls, path: Path) -> "Registration":
        """Reads a registration. Raises RequestError if the file is not one."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
            return dataclasses.replace(schema.from_json(cls, values, "registration"), path=path)
        except (OSError, ValueError, RequestError) as error:
            raise RequestError(f"{path} is no registration of a study: {str(error)[:200]}") from None

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_toml(), encoding="utf-8")

    def to_toml(self) -> str:
        values = schema.to_json(dataclasses.replace(self, path=None))
        parts = values.pop("data")
        arms = values.pop("arms")
        lines = [_line(key, value) for key, value in values.items() if value is not None]
        lines.append("\n[arms]\n")
        lines += [f"\n[arms.{_json(name)}]\n" + "".join(map(_line_of, arm.items())) for name, arm in arms.items()]
        for part in parts:
            chosen = part.pop("chosen")
            lines.append(
                "\n[[data]]\n" + "".join(_line(key, value) for key, value in part.items() if value is not None)
            )
            lines.append("[data.chosen]\n")
            lines += [
                f"[data.chosen.{_json(name)}]\n" + "".join(map(_line_of, fields.items()))
                for name, fields in chosen.items()
            ]
        return "".join(lines)

    def on(self, dataset: str) -> OnData:
        """The part for a data set. Raises RequestError if it is not registered."""
        for part in self.data:
            if part.dataset == dataset:
                return part
        names = ", ".join(part.dataset for part in self.data)
        raise RequestError(f"{self.path}: {dataset} is not registered, only {names}")

    def seeds(self, dataset: str, block: Block) -> tuple[int, ...]:
        """The seeds of a block on a data set."""
        part = self.on(dataset)
        return part.replication_seeds if block == "replication" else part.seeds

    @property
    def mark(self) -> Registered:
        """What a verdict says of it."""
        assert self.path is not None
        commit = last_commit(self.path)
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return Registered(self.path.name, digest, *(commit or (None, None)))

    def objections(
        self, question: Any, dataset: str, block: Block, seeds: Sequence[int], starts: Sequence[str]
    ) -> Iterator[str]:
        """Yields why a verdict with these seeds, whose trainings began at `starts`, is not the registered one."""
        assert self.path is not None
        mark = self.mark
        if mark.committed is None:
            yield f"{self.path.name} is not committed as it is"
        elif early := [start for start in starts if _time(start) < _time(mark.committed)]:
            yield f"training began at {min(early)}, before the registration of {mark.committed}"
        if tuple(seeds) != self.seeds(dataset, block):
            yield "its seeds are not the registered ones"
        if (question.question, question.decision) != (self.question, self.rule):
            yield "question or rule have changed since the registration"
        if analysis_code(self.path.parent.parent / f"{self.claim}.py") != self.analysis:
            yield "the code that decides has changed since the registration"


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


_json = functools.partial(json.dumps, ensure_ascii=False)  # TOML does not know the surrogates that JSON would escape to


def _line(key: str, value: Any) -> str:
    """A line of TOML, whose strings, numbers, booleans and lists are those of JSON."""
    if isinstance(value, dict):
        inside = ", ".join(f"{_json(name)} = {_json(x)}" for name, x in value.items())
        return f"{key} = {{{inside}}}\n"
    return f"{key} = {_json(value)}\n"


def _line_of(item: tuple[str, Any]) -> str:
    return _line(*item)


def file_of(script: Path, claim: str) -> Path:
    """Where the registration of an experiment is."""
    return script.parent / FOLDER / f"{claim}.toml"


def analysis_code(script: Path) -> str:
    """The sha256 of the code that decides: the script, those beside it that it imports, and this package's studies,
    statistics and rule."""
    package = Path(__file__).resolve().parent.parent
    decides = [*(package / "study").glob("*.py"), *(package / "statistics").glob("*.py"), package / "runs/verdict.py"]
    digest = hashlib.sha256()
    for path in (*sorted(_with_imports(script)), *sorted(decides)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _with_imports(script: Path) -> set[Path]:
    """A script and the files beside it that it imports, directly or not."""
    found, left = set(), [script]
    while left:
        path = left.pop()
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            beside = [path.with_name(f"{name}.py") for name in names]
            left += [other for other in beside if other.is_file() and other not in found]
    return found


def register(
    script: Path, question: Any, expectation: str, arms: Mapping[str, Any], pilots: Sequence[Verdict]
) -> Registration:
    """Writes the registration of an experiment from its pilots, one for each data set.

    The number of seeds is that which finds the smallest effect of interest with 80 % power, at least LEAST_SEEDS, at
    most `question.most_seeds`.

    Raises:
      RequestError: a pilot has too few pairs, or the experiment is registered already.
    """
    path = file_of(script, question.claim)
    if path.exists():
        raise RequestError(f"{path} exists: a study is registered once; remove the file to register it anew")
    first = _free_seeds(path.parent)
    data = tuple(_on_data(question, pilot, first) for pilot in pilots)
    finding = pilots[0].finding
    registration = Registration(
        claim=question.claim, question=question.question, expectation=expectation, rule=question.decision,
        statistic=finding.statistic, unit=finding.unit, smallest_effect=question.smallest_effect,
        stopping="all of these seeds are trained, and no others are added", arms=dict(arms),
        analysis=analysis_code(script), data=data, path=path,
    )  # fmt: skip
    registration.write(path)
    return registration


def _on_data(question: Any, pilot: Verdict, first: int) -> OnData:
    finding = pilot.finding
    if pilot.quick or finding.deviation is None or finding.n < SEEDS_FOR_A_VERDICT:
        raise RequestError(
            f"the pilot on {pilot.dataset} has {finding.n} pairs: at least {SEEDS_FOR_A_VERDICT} are needed"
        )
    most = min(question.most_seeds, BLOCK)
    needed = None
    if question.smallest_effect is not None:
        needed = seeds_needed(finding.deviation, question.smallest_effect, finding.n).n
    n = most if needed is None else min(max(needed, LEAST_SEEDS), most)
    return OnData(
        dataset=pilot.dataset, pilot_seeds=pilot.seeds, deviation=finding.deviation, needed=needed,
        seeds=tuple(range(first, first + n)), replication_seeds=tuple(range(first + BLOCK, first + BLOCK + n)),
        detectable=detectable(finding.deviation, n), chosen=finding.more.get("chosen", {}), seconds=pilot.seconds,
    )  # fmt: skip


def _free_seeds(folder: Path) -> int:
    """The first seed of a block that no other registration uses: verdicts share no training."""
    used = {
        seed // 100 for path in folder.glob("*.toml") for part in Registration.read(path).data for seed in part.seeds
    }
    block = FIRST_SEED // 100
    while block in used:
        block += 1
    return 100 * block
