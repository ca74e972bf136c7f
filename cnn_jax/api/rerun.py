"""Repeats a finished run or sweep: what differs in code and environment, and whether the numbers are reproduced."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax

from cnn_jax import api
from cnn_jax.errors import RequestError, RunError
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.provenance import provenance
from cnn_jax.runs.reader import Run, Trial, grid_of, is_sweep
from cnn_jax.runs.schema import Provenance
from cnn_jax.runs.sweeps import SweepReader, final_folder, trial_folder
from cnn_jax.statistics import median

SCORE = "test.accuracy"


@dataclass(frozen=True)
class Rerun:
    """The comparison of a repeated run with the original.

    `answer` is `identical` if every metric of every epoch is the same number, `within` if the (median) test accuracy
    differs by at most the tolerance, else `different`. `changes` are differences in code, versions, device and data;
    `numbers` are the test accuracies before and now, in percent.
    """

    path: Path
    answer: Literal["identical", "within", "different"]
    changes: tuple[str, ...]
    numbers: tuple[float | None, float | None]


def rerun(
    path: Path | str, out: Path | str, *, tolerance: float = 0.5, data_dir: str | None = None, show: bool = True
) -> Rerun:
    """Trains a finished run or sweep again, with the current code, data and device, and compares the numbers.

    Args:
      path: the folder of the finished run or sweep.
      out: the new folder.
      tolerance: the accepted difference, in percentage points of test accuracy.
      data_dir: the folder of the data; by default as in the run.
      show: shows progress on standard error.

    Returns:
      The comparison.

    Raises:
      RunError: the folder is damaged, or training was interrupted.
    """
    if jax.process_count() > 1:
        raise RequestError("a rerun is done by one process")
    before = Outcome.load(path)
    now, _ = provenance()
    changes = circumstances(before.record.provenance, now)
    if is_sweep(before.folder):
        grid = grid_of(before.folder)
        grid = dataclasses.replace(grid, base=_with_data_dir(grid.base, data_dir))
        plan: Any = before.record.plan or {"parallel": "auto"}
        status = api.sweep(grid, out, parallel=plan["parallel"], show=show).status
    else:
        status = api.train(_with_data_dir(before.config, data_dir), out, show=show).status
    if status == "interrupted":
        raise RunError(f"{out} was interrupted; there is nothing to compare yet")
    after = Outcome.load(out)
    if before.data.sha256 != after.data.sha256:
        changes += (f"data: {before.data.name} had sha256 {before.data.sha256[:12]}, now {after.data.sha256[:12]}",)
    numbers = tuple(None if x is None else 100 * x for x in (_score(before), _score(after)))
    if _numbers(before) == _numbers(after):
        answer: Any = "identical"
    else:
        close = None not in numbers and abs(numbers[0] - numbers[1]) <= tolerance  # type: ignore[operator]
        answer = "within" if close else "different"
    return Rerun(Path(out), answer, changes, numbers)  # type: ignore[arg-type]


def circumstances(before: Provenance, now: Provenance) -> tuple[str, ...]:
    """The differences between two starts: code, pinned requirements, versions, device, environment."""
    old, new = _facts(before), _facts(now)
    return tuple(
        f"{name}: was {old.get(name)}, is {new.get(name)}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    )


def _facts(start: Provenance) -> dict[str, Any]:
    repository, lock = start.repository, start.lock_sha256
    return {
        "commit": repository and repository.commit[:12],
        "uncommitted changes": bool(repository and repository.diff),
        "pinned requirements": lock and lock[:12],
        **{f"device {name}": value for name, value in start.device.items()},
        "driver": start.driver,
        "settings": ", ".join(start.settings),
        **start.versions,
        **start.environment,
    }


def _with_data_dir(config: Any, data_dir: str | None) -> Any:
    return config if data_dir is None else dataclasses.replace(config, data_dir=data_dir)


def _score(outcome: Outcome) -> float | None:
    return median(list(outcome.by_seed(SCORE).values()))


def _numbers(outcome: Outcome) -> list[Any]:
    """Every metric of every epoch and every score, of all trained networks."""
    if outcome.sweep is None:
        return [_numbers_of(Run.open(outcome.folder.path).trial)]
    return [_numbers_of(Trial.open(path)) for path in _run_paths(outcome.sweep)]


def _run_paths(sweep: SweepReader) -> list[Path]:
    paths = [trial_folder(sweep.folder, row.trial).path for row in sweep.table.rows]
    if sweep.table.grid.base.final_fit:
        paths += [final_folder(sweep.folder, seed.seed).path for seed in sweep.seeds]
    return paths


def _numbers_of(trial: Trial) -> tuple[Any, ...]:
    result = trial.ended
    epochs = [dataclasses.replace(metrics, seconds=0.0) for metrics in trial.history]
    return result.status, result.scored_step, result.validation, result.test, epochs
