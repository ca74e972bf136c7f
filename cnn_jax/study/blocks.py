"""Which studies an experiment consists of: a pilot, a verdict and its replication, on each of its data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from cnn_jax.errors import RequestError
from cnn_jax.runs.manifest import NAME as MANIFEST
from cnn_jax.runs.verdict import Block, Verdict
from cnn_jax.study.experiment import PILOT, Question, Study
from cnn_jax.study.registration import Registration, file_of


def registration_of(script: Path, question: Question) -> Registration | None:
    """The registration of an experiment, if it has one."""
    path = file_of(script, question.claim)
    return Registration.read(path) if path.is_file() else None


def studies(
    script: Path,
    question: Question,
    out: Path,
    *,
    datasets: Sequence[str] = (),
    block: Block | None = None,
    seeds: tuple[int, ...] = (),
    quick: bool = False,
    common: Mapping[str, Any] | None = None,
) -> list[Study]:
    """The studies of an experiment, one for each data set.

    Args:
      script: the experiment's file, beside which its registration is.
      question: what it asks.
      out: the folder of the experiment; each study is in `<data set>/<block>`.
      datasets: other data sets than the registered ones, or those of the question.
      block: the block of seeds; by default that of the verdict if the experiment is registered, else the pilot.
      seeds: own seeds, in no block.
      quick: the short form, on digits.
      common: further fields of the studies.

    Raises:
      RequestError: the experiment is not registered on a data set, or seeds are in several blocks.
    """
    more = dict(common or {})
    if quick:
        return [Study(question, out / "digits" / "pilot", seeds=seeds, quick=True, **more)]
    registration = registration_of(script, question)
    if block is None:
        block = "own" if seeds else "pilot" if registration is None else "verdict"
    if seeds == PILOT:
        block = "pilot"
    if block in ("verdict", "replication"):
        if registration is None:
            raise RequestError(f"{question.claim} is not registered: cnn-jax study register {script}")
        return [
            Study(question, out / label(name) / block, dataset=name, seeds=registration.seeds(name, block),
                  registration=registration, block=block, **more)
            for name in datasets or [part.dataset for part in registration.data]
        ]  # fmt: skip
    known = {part.dataset for part in registration.data} if registration is not None and block == "own" else set()
    place = f"seeds-{seeds[0]}-{seeds[-1]}" if block == "own" else block
    return [
        Study(question, out / label(name) / place, dataset=name, seeds=seeds, block=block,
              registration=registration if name in known else None, **more)
        for name in datasets or sorted(known) or question.datasets
    ]  # fmt: skip


def label(dataset: str) -> str:
    """The folder of a data set: its name, or that of its file."""
    name = Path(dataset).name.partition(".")[0]
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)


def verdicts(out: Path) -> dict[str, dict[Block, Verdict]]:
    """The verdicts in the folder of an experiment, by data set and block. Raises RunError for a damaged one."""
    found: dict[str, dict[Block, Verdict]] = {}
    for block in get_args(Block):
        for path in sorted(out.glob(f"*/{block}/{MANIFEST}")):
            verdict = Verdict.open(path.parent)
            found.setdefault(verdict.dataset, {})[block] = verdict
    return found


def combined(answers: Mapping[str, str]) -> str:
    """The answer over data sets: one where all agree, else each with the data set that gave it."""
    if len(set(answers.values())) == 1:
        return next(iter(answers.values()))
    return ", ".join(f"{answer} on {dataset}" for dataset, answer in answers.items())


def agreement(first: Verdict, second: Verdict) -> str:
    """Whether a replication gives the answer of the verdict, in words."""
    if first.finding.answer == second.finding.answer:
        return "replicated"
    return f"not replicated: {first.finding.answer}, then {second.finding.answer}"
