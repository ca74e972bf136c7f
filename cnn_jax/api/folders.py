"""The folder of a run or sweep: whether it may be started or resumed, and by which process."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnn_jax.errors import RequestError, RunError
from cnn_jax.grids.grid import Grid
from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.provenance import utc_now
from cnn_jax.runs.reader import config_of, grid_of
from cnn_jax.runs.schema import Record
from cnn_jax.runs.sweeps import trial_folder
from cnn_jax.runs.trainer import XLA_FAILURE
from cnn_jax.training.config import Config, differences


def open_existing(out: Path | str, resume: bool) -> Folder | None:
    """The folder to resume, or None to start a new one. Raises RequestError if `out` exists without `resume`."""
    folder = Folder(out)
    if not folder.occupied:
        return None
    if not resume:
        raise RequestError(f"{out} exists already; give another --out, or --resume to continue it")
    return Folder.open(out)


@contextlib.contextmanager
def claim_shared(out: Path | str, check: Callable[[], None]) -> Iterator[Folder]:
    """Claims the folder `out` in the first process for all processes, after `check`, which may raise."""
    if jax.process_index() > 0:
        if not agree(None):
            raise RequestError(f"{out}: refused by the first process")
        yield Folder(out)
        return
    with contextlib.ExitStack() as stack:
        try:
            check()
            folder = stack.enter_context(Folder(out).claimed())
        except BaseException:
            agree(False)
            raise
        agree(True)
        yield folder


def agree(value: bool | None) -> bool:
    """Broadcasts the value of the first process to all processes. A barrier: each waits here for the others. Raises
    RunError if one has died."""
    if jax.process_count() == 1:
        return bool(value)
    from jax.experimental.multihost_utils import broadcast_one_to_all

    try:
        return bool(broadcast_one_to_all(np.int32(bool(value))))
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        if not XLA_FAILURE.match(str(error)):
            raise
        raise RunError("another process has died; start all processes again with --resume") from error


def refuse_changes(folder: Folder, old: Config, new: Config) -> None:
    """Raises RequestError if the configs differ."""
    if changed := differences(old, new):
        raise RequestError(f"{folder.path} holds a run with another config: {'; '.join(changed)}")


def extend(folder: Folder, config: Config, dry: bool = False) -> str | None:
    """Extends a run to more epochs if the folder holds one whose config is otherwise the same.

    Args:
      folder: the folder of the run.
      config: the config with the new number of epochs.
      dry: only checks; writes nothing.

    Returns:
      A note for the user, or None if this is not an extension.

    Raises:
      RequestError: the schedule depends on the number of epochs.
    """
    old = config_of(folder)
    if config.epochs <= old.epochs or differences(dataclasses.replace(old, epochs=config.epochs), config):
        return None
    if old.schedule not in ("constant", "step"):
        raise RequestError(
            f"{folder.path} was trained for {old.epochs} epochs with schedule {old.schedule!r}, which depends on their "
            f"number: give another --out, and --init {folder.path} to start from its weights"
        )
    note = f"extended from {old.epochs} to {config.epochs} epochs"
    if not dry:
        record = folder.read("record.json", Record)
        notes = (*record.notes, f"{note}, {utc_now()}")
        manifest.remove(folder)
        folder.file("result.json").unlink(missing_ok=True)
        folder.write(
            "record.json",
            dataclasses.replace(record, config=config.to_json(), config_hash=config.hash(), notes=notes),
        )
        folder.write_json("config.json", config.to_json())
    return note


def refuse_other_grid(folder: Folder, grid: Grid) -> None:
    """Raises RequestError if the folder holds a sweep with another config or other axes. A single cell may get more
    seeds, or lose those at the end whose trials have not ended: the others keep their numbers."""
    old = grid_of(folder)
    refuse_changes(folder, old.base, grid.base)
    if list(old.axes.items()) == list(grid.axes.items()):  # order counts, as it numbers the trials
        return
    if not (old.cells() == grid.cells() and len(grid.cells()) == 1 and _agree_at_first(old.seeds, grid.seeds)):
        raise RequestError(f"{folder.path} holds a sweep over other axes: {dict(old.axes)} -> {dict(grid.axes)}")
    for number in range(len(grid.seeds), len(old.seeds)):
        if trial_folder(folder, number).has(manifest.NAME):
            raise RequestError(f"{folder.path}: the trial of seed {old.seeds[number]} has ended and cannot be left out")


def _agree_at_first(some: tuple[int, ...], others: tuple[int, ...]) -> bool:
    return all(a == b for a, b in zip(some, others, strict=False))


def backend_config(folder: Folder | None) -> dict[str, Any] | None:
    """The speed settings that a run or sweep recorded at its start, or None."""
    return folder.read("record.json", Record).choices if folder and folder.has("record.json") else None
