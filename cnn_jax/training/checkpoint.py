"""Checkpoints of a run. The only user of Orbax, which restores damaged data without an error: hence the sha256."""

import contextlib
import dataclasses
import hashlib
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from cnn_jax import runtime
from cnn_jax.errors import RunError, writing
from cnn_jax.metrics import EpochMetrics
from cnn_jax.training.state import TrainState

with runtime.host_logging:
    import orbax.checkpoint as ocp
    from orbax.checkpoint import checkpoint_managers as policies

T = TypeVar("T")
_saving = threading.RLock()
_busy: ocp.CheckpointManager | None = None  # the manager that may be saving

KEEP_LATEST = 2  # the newest, and the one before in case the newest is damaged


@dataclass(frozen=True)
class Restored:
    """A good checkpoint: the state on the host, what was saved beside it, and one line for each bad one passed over."""

    step: int
    state: TrainState
    meta: dict[str, Any]
    skipped: list[str] = field(default_factory=list)


class _Arrays(ocp.CheckpointHandler):
    """Arrays by name in one file. (Orbax's own handler of arrays writes those of the first process alone.)"""

    def save(self, directory: Any, args: "_Leaves") -> None:
        np.savez(Path(directory) / "leaves.npz", **args.leaves)  # type: ignore[arg-type]

    def restore(self, directory: Any, args: "_Leaves") -> dict[str, np.ndarray]:
        with np.load(Path(directory) / "leaves.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


@ocp.args.register_with_handler(_Arrays, for_save=True, for_restore=True)
@dataclass
class _Leaves(ocp.args.CheckpointArgs):
    """What is saved; nothing where it is to be restored."""

    leaves: dict[str, np.ndarray] = field(default_factory=dict)


class SavedCheckpoints:
    """The checkpoints in one folder, named by step, to be read: nothing is created or deleted. RunError where the
    folder is, or holds, a link: what lies behind it belongs to somebody else."""

    def __init__(self, directory: Path):
        self.directory = directory.absolute()  # Orbax accepts a relative path and then fails in the background
        _refuse_links(self.directory)
        self._manager = self._open()

    def _open(self, **options: Any) -> ocp.CheckpointManager:
        alone = ocp.options.MultiprocessingOptions(  # each process saves what it has trained itself
            primary_host=jax.process_index(),
            active_processes={jax.process_index()},
            barrier_sync_key_prefix=f"process{jax.process_index()}",
        )
        handlers = {
            "state": _Arrays(),
            "meta": ocp.JsonCheckpointHandler(multiprocessing_options=alone),
        }
        self._host = contextlib.ExitStack()
        self._host.enter_context(runtime.host_logging)
        made = ocp.CheckpointManagerOptions(multiprocessing_options=alone, create=False, **options)
        return ocp.CheckpointManager(self.directory, options=made, item_handlers=handlers)

    def latest(self, like: TrainState) -> Restored | None:
        """The newest good checkpoint in the form of `like`; None where there is none at all. Raises RunError if there
        are only bad ones."""
        skipped: list[str] = []
        for step in reversed(self.steps()):
            try:
                return dataclasses.replace(self.at(step, like), skipped=skipped)
            except RunError as error:
                skipped.append(str(error))
        if skipped:
            raise RunError(f"no checkpoint is good: {'; '.join(skipped)}")
        return None

    def steps(self) -> list[int]:
        """The steps that there are checkpoints of, the first first."""
        return sorted(self._manager.all_steps())

    def at(self, step: int, like: TrainState) -> Restored:
        """The checkpoint of a step in the form of `like`. Raises RunError if it is missing, unreadable, damaged or of
        another form."""
        where = self.directory / str(step)
        try:
            items = self._manager.restore(
                step,
                args=ocp.args.Composite(state=_Leaves(), meta=ocp.args.JsonRestore()),
            )
            leaves, meta = items.state, dict(items.meta)
            expected_digest = meta["sha256"]
        except Exception as error:  # Orbax raises whatever its parts raise: KeyError, ValueError, bare Exception
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise RunError(f"checkpoint {where} is unreadable ({reason[0][:120]})") from None
        if _digest(leaves) != expected_digest:
            raise RunError(f"checkpoint {where} is damaged: its sha256 is not the one it was saved with")
        expected = _leaves(like)
        if differs := _difference(leaves, expected):
            raise RunError(f"checkpoint {where} is of another network or optimizer: {differs}")
        state = jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in expected])
        return Restored(step, state, meta)

    def close(self) -> None:
        global _busy
        with self._host:
            _one_at_a_time(self._manager, self._manager.close)
        with _saving:
            if _busy is self._manager:
                _busy = None


class Checkpoints(SavedCheckpoints):
    """The checkpoints of a run that goes on: only the holder of the folder's lock may open them so. Keeps the newest
    two and the one of the best validation accuracy (the first that reached it), or with `keep_all` every one; what
    killed saves left is removed."""

    def __init__(self, directory: Path, keep_all: bool = False):
        self.directory = directory.absolute()
        _refuse_links(self.directory)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for leftover in self.directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(leftover)
        except OSError as error:
            raise RunError(f"{error.filename or self.directory} cannot be written: {error.strerror}") from None
        newest = policies.LatestN(KEEP_LATEST)
        best = policies.BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False)
        some = policies.AnyPreservationPolicy([newest, best])
        self._manager = self._open(preservation_policy=policies.preservation_policy.PreserveAll() if keep_all else some)

    def save(self, state: TrainState, meta: dict[str, Any], evaluation: EpochMetrics | None = None) -> None:
        """Saves in the background; returns as soon as the state has been copied. `evaluation` ranks the checkpoint."""
        leaves = _leaves(state)
        step = int(state.step)
        metrics = None
        if evaluation is not None and evaluation.validation is not None:
            metrics = {"validation_accuracy": evaluation.validation.accuracy, "step": step}
        items = ocp.args.Composite(
            state=_Leaves(leaves),
            meta=ocp.args.JsonSave({"sha256": _digest(leaves), **meta}),
        )
        if not _one_at_a_time(self._manager, lambda: self._manager.save(step, args=items, metrics=metrics)):
            raise RunError(f"{self.directory}: checkpoint {step} was not saved, since a later one is there")

    def discard_after(self, step: int) -> None:
        """Removes the checkpoints after a step, so that a run which goes on from there can save those steps again."""
        for later in [other for other in self.steps() if other > step]:
            self._manager.delete(later)

    def wait(self) -> None:
        """Returns when everything is on disk."""
        _one_at_a_time(self._manager, self._manager.wait_until_finished)


def _refuse_links(directory: Path) -> None:
    """RunError if a folder of checkpoints is a link, no folder, or has a link in it."""
    if directory.is_symlink():
        raise RunError(
            f"{directory} is a link: checkpoints lie in the run's own folder, and are not followed elsewhere"
        )
    if not directory.exists():
        return
    try:
        links = [path for path in directory.iterdir() if path.is_symlink()]
    except OSError as error:
        raise RunError(f"{directory} is no folder of checkpoints: {error.strerror}") from None
    if links:
        raise RunError(f"{links[0]} is a link: checkpoints lie in the run's own folder, and are not followed elsewhere")


def _difference(leaves: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> str | None:
    """In which array saved leaves are of another form than those expected, None where they are of the same."""
    for name in [*expected, *leaves]:
        if name not in leaves:
            return f"it has no {name}"
        if name not in expected:
            return f"it has {name}, which is not expected"
        one, other = leaves[name], expected[name]
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            return f"its {name} is {one.dtype} {one.shape}, not {other.dtype} {other.shape}"
    return None


def _one_at_a_time(manager: ocp.CheckpointManager, work: Callable[[], T]) -> T:
    """What `work` returns. Orbax's saves in the background wait for each other for ever where two of them are under way
    in one process, so another manager's is let come to its end first."""
    global _busy
    with _saving:
        if _busy is not None and _busy is not manager:
            _busy.wait_until_finished()
        _busy = manager
        with writing(manager.directory):
            return work()


def rank(metrics: Any) -> tuple[float, int]:
    """What Orbax ranks checkpoints by: validation accuracy, the earlier step where several share it."""
    return metrics["validation_accuracy"], -metrics["step"]


def _leaves(state: TrainState) -> dict[str, np.ndarray]:
    """The leaves of a state on the host by path, in the order of the tree."""
    paths, _ = jax.tree.flatten_with_path(jax.device_get(state))
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.array(leaf) for path, leaf in paths}


def _digest(leaves: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(leaves):
        leaf = leaves[name]
        digest.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
