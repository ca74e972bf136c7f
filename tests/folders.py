"""Finished runs and sweeps for the tests, written by the real writers without any training."""

import dataclasses
import shutil

from cnn_jax.grids.table import Table, to_csv
from cnn_jax.metrics import EpochMetrics, Evaluation
from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.reader import Trial
from cnn_jax.runs.schema import Data, Provenance, Record, Repository, Result, Source
from cnn_jax.runs.sweeps import final_folder, seed_scores, trial_folder, trial_row

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLEAN = Repository("cnn_jax", COMMIT, (), (), None)
SCRIPT = Source("experiments/sweep.py", "ab" * 32, "code/sweep.py", COMMIT)
START = Provenance(
    argv=("experiments/sweep.py",), command="scripts/run experiments/sweep.py", started="2026-11-26T12:00:00+00:00",
    repository=CLEAN, script=SCRIPT, modules=(), versions={"python": "3.11.7", "cnn_jax": "0.1.0", "jax": "0.10.2"},
    lock_sha256="cd" * 32, device={"backend": "cpu", "kind": "cpu", "count": 1, "processes": 1, "cpu": "Xeon E5-2680"},
    driver=None, environment={}, settings=(),
)  # fmt: skip
DIGITS = Data(
    name="digits", sha256="ef" * 32, image_shape=(8, 8, 1), class_names=tuple("0123456789"), mean=(0.3,), std=(0.4,),
    splits={"train": 1259, "validation": 269, "test": 269}, source={"duplicates": {}},
)  # fmt: skip


def evaluation(accuracy, examples=269, loss=None):
    """Of an accuracy that so many images can have."""
    share = round(accuracy * examples) / examples
    means = {"accuracy": share, "loss": 2.0 - share if loss is None else loss, "top5_accuracy": min(1.0, share + 0.05)}
    return Evaluation(means, examples)


def result(accuracy, *, steps=10, epochs=1, test=None, at_chance=False, parameters=100):
    """Complete, or with accuracy None diverged."""
    shared = {"epochs": epochs, "steps": steps, "parameters": parameters, "compile_seconds": 1.0, "train_seconds": 2.0}
    if accuracy is None:
        return Result("diverged", None, "not finite", 3, None, None, None, **shared | {"epochs": 0, "steps": 3})
    scored = None if test is None else evaluation(test)
    return Result("complete", at_chance, None, None, steps, evaluation(accuracy), scored, **shared)


def write_trial(path, config, outcome):
    """The files of a run but for its record."""
    folder = Folder(path)
    folder.write_json("config.json", config.to_json())
    for epoch in range(1, outcome.epochs + 1):
        validation = outcome.validation
        step = outcome.steps * epoch // outcome.epochs
        folder.append_metrics(EpochMetrics(epoch, step, evaluation(0.5, 1259), validation, config.learning_rate, 1.0))
    folder.write("result.json", outcome)
    return folder


def record(config, start=START, data=DIGITS, **more):
    return Record(
        provenance=start, config=config.to_json(), config_hash=config.hash(), seeds={}, precision="highest",
        weights_scored="final", choices={}, data=data, finished="2026-11-26T12:01:00+00:00", **more,
    )  # fmt: skip


def write_run(path, config, outcome, start=START, data=DIGITS):
    """A finished run without checkpoints."""
    folder = write_trial(path, config, outcome)
    folder.write("record.json", record(config, start, data))
    folder.write_text("code/sweep.py", "the script\n")
    manifest.write(folder)
    return path


def write_sweep(path, grid, cells, tests=None, at_chance=(), start=START, data=DIGITS):
    """A finished sweep without checkpoints: validation accuracies by cell and seed, None for one that diverged; test
    accuracies of the chosen cell by seed (by default those of validation); numbers of the trials `at_chance`."""
    folder = Folder(path)
    folder.write_json("config.json", grid.to_json())
    accuracies = [accuracy for cell in cells for accuracy in cell]
    rows = []
    for i, (config, accuracy) in enumerate(zip(grid.trials(), accuracies, strict=True)):
        trial = write_trial(trial_folder(folder, i).path, config, result(accuracy, at_chance=i in at_chance))
        rows.append(trial_row(grid, i, config, Trial.open(trial.path), data))
    table = Table(grid, tuple(rows))
    chosen = table.chosen_trials()
    for row, test in zip(chosen, tests or [row.accuracy for row in chosen], strict=True):
        trial = trial_folder(folder, row.trial)
        if row.accuracy is not None and not grid.base.final_fit:
            scored = Trial.open(trial.path).ended
            trial.write("result.json", dataclasses.replace(scored, test=evaluation(test)))
        elif grid.base.final_fit:
            config = dataclasses.replace(grid.trials()[row.trial], final_fit=True)
            write_final(final_folder(folder, row.seed).path, config, test)
    folder.write_text("results.csv", to_csv([row.to_json() for row in rows]))
    if chosen:
        row = table.representative()
        source = final_folder(folder, row.seed) if grid.base.final_fit else trial_folder(folder, row.trial)
        shutil.copytree(source.path, folder.file("best"))
        Folder(folder.file("best")).write("record.json", record(Trial.open(source.path).config, start, data))
        folder.write_text("best/seeds.csv", to_csv([seed.to_json() for seed in seed_scores(folder, table)]))
    scored_trials = () if grid.base.final_fit else tuple(row.trial for row in chosen)
    of_sweep = dataclasses.replace(record(grid.base, start, data), config=grid.to_json(), config_hash=grid.hash())
    folder.write("record.json", dataclasses.replace(of_sweep, trials=len(rows), test_scored=scored_trials))
    folder.write_text("code/sweep.py", "the script\n")
    manifest.write(folder)
    return path


def write_final(path, config, test):
    outcome = dataclasses.replace(result(0.5, test=test), validation=None)
    folder = Folder(path)
    folder.write_json("config.json", config.to_json())
    folder.append_metrics(EpochMetrics(1, outcome.steps, evaluation(0.5, 1528), None, config.learning_rate, 1.0))
    folder.write("result.json", outcome)
