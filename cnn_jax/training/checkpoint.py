"""Checkpoints of a run. The only module that uses Orbax, which restores damaged data without an error: hence the
sha256."""

import contextlib
import dataclasses
import hashlib
import shutil
import threading
from collections.abc import Callable, Sequence
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

KEEP_LATEST = 2  # the newest, and the previous in case the newest is damaged


@dataclass(frozen=True)
class Restored:
    """An intact checkpoint: the state on the host, the metadata saved with it, and a line for each newer checkpoint
    that was skipped as damaged."""

    step: int
    state: TrainState
    meta: dict[str, Any]
    skipped: list[str] = field(default_factory=list)


class _Arrays(ocp.CheckpointHandler):
    """Saves arrays by name in one file. (Orbax's own array handler writes only in the first process.)"""

    def save(self, directory: Any, args: "_Leaves") -> None:
        np.savez(Path(directory) / "leaves.npz", **args.leaves)  # type: ignore[arg-type]

    def restore(self, directory: Any, args: "_Leaves") -> dict[str, np.ndarray]:
        with np.load(Path(directory) / "leaves.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


@ocp.args.register_with_handler(_Arrays, for_save=True, for_restore=True)
@dataclass
class _Leaves(ocp.args.CheckpointArgs):
    """The arrays to save; empty when restoring."""

    leaves: dict[str, np.ndarray] = field(default_factory=dict)


class SavedCheckpoints:
    """Read access to the checkpoints in a folder, named by step: nothing is created or deleted. Raises RunError if the
    folder is or contains a link, since its target may belong to someone else."""

    def __init__(self, directory: Path):
        self.directory = directory.absolute()  # Orbax accepts a relative path and then fails in the background
        _refuse_links(self.directory)
        self._manager = self._open()

    def _open(self, **options: Any) -> ocp.CheckpointManager:
        per_process = ocp.options.MultiprocessingOptions(  # each process saves the trials that it has trained
            primary_host=jax.process_index(),
            active_processes={jax.process_index()},
            barrier_sync_key_prefix=f"process{jax.process_index()}",
        )
        handlers = {
            "state": _Arrays(),
            "meta": ocp.JsonCheckpointHandler(multiprocessing_options=per_process),
        }
        self._host = contextlib.ExitStack()
        self._host.enter_context(runtime.host_logging)
        manager_options = ocp.CheckpointManagerOptions(multiprocessing_options=per_process, create=False, **options)
        return ocp.CheckpointManager(self.directory, options=manager_options, item_handlers=handlers)

    def latest(self, like: TrainState) -> Restored | None:
        """The newest intact checkpoint, with the tree structure of `like`; None if there are no checkpoints. Raises
        RunError if all are damaged."""
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
        """The steps with a checkpoint, in ascending order."""
        return sorted(self._manager.all_steps())

    def at(self, step: int, like: TrainState) -> Restored:
        """The checkpoint of a step, with the tree structure of `like`. Raises RunError if it is missing, unreadable,
        damaged or has other arrays."""
        path = self.directory / str(step)
        try:
            items = self._manager.restore(
                step,
                args=ocp.args.Composite(state=_Leaves(), meta=ocp.args.JsonRestore()),
            )
            leaves, meta = items.state, dict(items.meta)
            expected_digest = meta["sha256"]
        except Exception as error:  # Orbax raises whatever its parts raise: KeyError, ValueError, bare Exception
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise RunError(f"checkpoint {path} is unreadable ({reason[0][:120]})") from None
        if _digest(leaves) != expected_digest:
            raise RunError(f"checkpoint {path} is damaged: its sha256 is not the one it was saved with")
        expected = _leaves(like)
        if differs := _difference(leaves, expected):
            raise RunError(f"checkpoint {path} is of another network or optimizer: {differs}")
        state = jax.tree.unflatten(jax.tree.structure(like), [leaves[name] for name in expected])
        return Restored(step, state, meta)

    def close(self) -> None:
        global _busy
        with self._host:
            _exclusively(self._manager, self._manager.close)
        with _saving:
            if _busy is self._manager:
                _busy = None


class _Best(policies.PreservationPolicy):
    """Preserves the checkpoint of the highest rank. (Orbax's own policy forgets the ranks when a process ends.)"""

    def __init__(self) -> None:
        self.ranks: dict[int, tuple[float, int]] = {}  # by step

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        ranked = [one.step for one in checkpoints if one.step in self.ranks]
        best = max(ranked, key=self.ranks.__getitem__, default=None)
        return [one.step == best for one in checkpoints]


class Checkpoints(SavedCheckpoints):
    """The checkpoints of a run in progress; only the process that holds the lock of the folder may open them. Keeps the
    newest two and the first one with the best validation accuracy, or all with `keep_all`. Removes leftovers of killed
    saves."""

    def __init__(self, directory: Path, keep_all: bool = False):
        self.directory = directory.absolute()
        _refuse_links(self.directory)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for leftover in self.directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(leftover)
        except OSError as error:
            raise RunError(f"{error.filename or self.directory} cannot be written: {error.strerror}") from None
        self._best = _Best()
        if keep_all:
            policy = policies.preservation_policy.PreserveAll()
        else:
            policy = policies.AnyPreservationPolicy([policies.LatestN(KEEP_LATEST), self._best])
        self._manager = self._open(preservation_policy=policy)

    def save(self, state: TrainState, meta: dict[str, Any], evaluations: Sequence[EpochMetrics] = ()) -> None:
        """Saves in the background; returns as soon as the state has been copied. The `evaluations` so far rank the
        checkpoints, those of a killed process among them."""
        leaves = _leaves(state)
        step = int(state.step)
        self._best.ranks = {one.step: one.rank for one in evaluations if one.validation is not None}
        items = ocp.args.Composite(
            state=_Leaves(leaves),
            meta=ocp.args.JsonSave({"sha256": _digest(leaves), **meta}),
        )
        if not _exclusively(self._manager, lambda: self._manager.save(step, args=items)):
            raise RunError(f"{self.directory}: checkpoint {step} was not saved, since a later one is there")

    def discard_after(self, step: int) -> None:
        """Removes the checkpoints after a step, so that a run resumed from there can save those steps again."""
        for later in [other for other in self.steps() if other > step]:
            self._manager.delete(later)

    def wait(self) -> None:
        """Blocks until everything is on disk."""
        _exclusively(self._manager, self._manager.wait_until_finished)


def _refuse_links(directory: Path) -> None:
    """Raises RunError if `directory` exists and is a link, not a folder, or contains a link."""
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
    """The first array that is missing, unexpected or of another shape or dtype; None if there is none."""
    for name in [*expected, *leaves]:
        if name not in leaves:
            return f"it has no {name}"
        if name not in expected:
            return f"it has {name}, which is not expected"
        leaf, like = leaves[name], expected[name]
        if (leaf.shape, leaf.dtype) != (like.shape, like.dtype):
            return f"its {name} is {leaf.dtype} {leaf.shape}, not {like.dtype} {like.shape}"
    return None


def _exclusively(manager: ocp.CheckpointManager, work: Callable[[], T]) -> T:
    """Runs `work` once the saves of other managers are done: two background saves of Orbax in one process would wait
    for each other forever."""
    global _busy
    with _saving:
        if _busy is not None and _busy is not manager:
            _busy.wait_until_finished()
        _busy = manager
        with writing(manager.directory):
            return work()


def _leaves(state: TrainState) -> dict[str, np.ndarray]:
    """The leaves of a state by path, on the host, in the order of the tree."""
    paths, _ = jax.tree.flatten_with_path(jax.device_get(state))
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.array(leaf) for path, leaf in paths}


def _digest(leaves: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(leaves):
        leaf = leaves[name]
        digest.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
