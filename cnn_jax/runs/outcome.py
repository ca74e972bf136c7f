"""The outcome of a finished run, sweep or study, and whether it may be cited. All readers go through here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnn_jax.errors import RunError
from cnn_jax.grids.grid import with_values
from cnn_jax.grids.table import Table
from cnn_jax.metrics import Metric
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.reader import Run, is_sweep
from cnn_jax.runs.schema import Data, Provenance, Record
from cnn_jax.runs.sweeps import SeedScore, SweepReader, sweep_around
from cnn_jax.runs.verdict import Verdict
from cnn_jax.statistics import Interval, median, median_interval
from cnn_jax.training.config import Config

CODE = (".py", ".cc", ".h")
NO_CELL = "in every cell the median seed diverged"


@dataclass(frozen=True)
class Outcome:
    """A finished run, or the chosen cell of a finished sweep."""

    folder: Folder
    config: Config
    record: Record
    seeds: tuple[SeedScore, ...]
    parameters: int
    sweep: SweepReader | None

    @classmethod
    def load(cls, path: Path | str) -> "Outcome":
        """Loads the outcome of a run or sweep. Raises RequestError if the folder is not a run's, RunError if it has not
        ended, is damaged, or is a sweep without a chosen cell."""
        folder = Folder.open(path)
        return cls.of_sweep(SweepReader.open(path)) if is_sweep(folder) else cls._of_run(Run.open(path))

    @classmethod
    def _of_run(cls, run: Run) -> "Outcome":
        config, result = run.trial.config, run.trial.ended
        seed = SeedScore(config.seed, result.status, result.at_chance, result.validation, result.test)
        return cls(run.trial.folder, config, run.record, (seed,), result.parameters, None)

    @classmethod
    def of_sweep(cls, sweep: SweepReader) -> "Outcome":
        """The outcome of the chosen cell. Raises RunError if the sweep has none."""
        table = sweep.table
        if table.chosen is None:
            raise RunError(f"{sweep.folder.path} has no best cell: {NO_CELL}")
        config = with_values(table.grid.base, table.chosen)
        return cls(sweep.folder, config, sweep.record, sweep.seeds, table.chosen_trials()[0].parameters, sweep)

    @property
    def n(self) -> int:
        return len(self.seeds)

    @property
    def data(self) -> Data:
        return self.record.data

    @property
    def table(self) -> Table | None:
        return None if self.sweep is None else self.sweep.table

    @property
    def diverged(self) -> int:
        """The number of seeds that diverged, out of n."""
        return sum(seed.status == "diverged" for seed in self.seeds)

    @property
    def at_chance(self) -> int:
        """The number of seeds that ended at chance, out of n."""
        return sum(seed.at_chance is True for seed in self.seeds)

    @property
    def test_images(self) -> int:
        """The number of test images that each seed was scored on."""
        return max((seed.test.examples for seed in self.seeds if seed.test is not None), default=0)

    def by_seed(self, score: str) -> dict[int, float | None]:
        """The values of a score (see `metrics.scores()`, e.g. test.accuracy) by seed; None for diverged seeds. Raises
        RunError if the score was not measured."""
        split, name = score.split(".")
        values: dict[int, float | None] = {}
        for seed in self.seeds:
            evaluation = getattr(seed, split)
            if (evaluation is None and seed.status == "complete") or (evaluation and name not in evaluation.means):
                raise RunError(f"{self.folder.path} has no {score}")
            values[seed.seed] = None if evaluation is None else evaluation.means[name]
        return values

    def objections(self) -> Iterator[str]:
        """Yields the reasons why these numbers should not be cited, if any."""
        for start in self.record.starts:
            yield from code_objections(self.folder, start)
        if self.diverged == self.n:
            yield "every seed of it diverged"
        elif not self.test_images:
            yield "its test split was never scored"
        if self.sweep is not None and (outside := self.sweep.scored_outside()):
            yield (
                f"its test split was scored for more than the chosen cell ({self.sweep.table.chosen}): trials "
                f"{', '.join(map(str, outside))}"
            )


def over_seeds(values: Sequence[float | None], metric: Metric) -> tuple[float | None, Interval]:
    """The median of a metric over seeds and its interval. A diverged seed (None) is worse than every number: it ranks
    below all accuracies and above all losses."""
    if metric.higher_is_better:
        return median(values), median_interval(values)
    negative = [None if value is None else -value for value in values]
    middle, interval = median(negative), median_interval(negative)
    low, high = (None if end is None else -end for end in (interval.high, interval.low))
    return None if middle is None else -middle, replace(interval, low=low, high=high)


def code_objections(folder: Folder, start: Provenance) -> Iterator[str]:
    """Yields objections to the recorded code of one start of a run."""
    repository = start.repository
    if repository is None:
        yield "its record names no commit: it did not run from a git checkout"
        return
    untracked = [name for name in repository.untracked if name.endswith(CODE) and name.startswith("cnn_jax/")]
    if untracked:
        yield f"it ran with code that no commit has: {', '.join(untracked)[:200]}"
    if repository.diff is not None and not folder.has(repository.diff):
        yield f"its tree was dirty at commit {repository.commit[:12]} and {repository.diff} is not kept"
    if start.script is None:
        yield "it was started from code that is not in a file (an interactive session): nobody can run it again"
    for source in (start.script, *start.modules):
        if source is not None and not folder.has(source.copy):
            yield f"{source.copy}, the copy of {source.path} that took part, is not kept"


def outcome_of(path: Path | str) -> Outcome:
    """The outcome in a folder. Raises RunError with the reasons if it may not be cited."""
    if (sweep := sweep_around(Path(path))) is not None:
        raise RunError(f"{path} cannot be cited: it is one trial of a sweep, chosen or not: cite {sweep}")
    outcome = Outcome.load(path)
    if reasons := list(dict.fromkeys(outcome.objections())):
        raise RunError(f"{path} cannot be cited: {'; '.join(reasons)}")
    return outcome


def verdict_of(path: Path | str) -> Verdict:
    """The verdict in a study's folder. Raises RunError with the reasons if it may not be cited."""
    verdict = Verdict.open(path)
    reasons = list(code_objections(Folder(path), verdict.provenance))
    if verdict.quick:
        reasons.append("its verdict is that of a quick run, which counts for nothing")
    if reasons:
        raise RunError(f"{path} cannot be cited: {'; '.join(reasons)}")
    return verdict
