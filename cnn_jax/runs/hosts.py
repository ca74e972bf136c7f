"""One run over several processes. The leader of the group owns the run's folder; the others follow it: they compute the
same, read what the leader has read, and write into folders of their own that are removed at the end."""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnn_jax.errors import RequestError, RunError
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.task import Task
from cnn_jax.training.checkpoint import Checkpoints, Restored
from cnn_jax.training.config import Config
from cnn_jax.training.devices import from_leader, gather, leads
from cnn_jax.training.state import TrainState

FOLLOWED = ("config.json", "record.json", "metrics.jsonl")  # what a run that resumes reads


def decided(decide: Callable[[], Any], hosts: int) -> Any:
    """What `decide` returns in the leader, as JSON, in all processes of the group. If it raises there, the others raise
    RequestError."""
    if not leads(hosts):
        content = from_leader(b"", hosts)
        if not content:
            raise RequestError("refused by the first process")
        return json.loads(content)
    try:
        value = decide()
    except BaseException:
        from_leader(b"", hosts)
        raise
    return json.loads(from_leader(json.dumps(value).encode(), hosts))


def check_same(task: Task, hosts: int) -> None:
    """Raises RequestError in all processes of the group if one has other data or settings than the leader."""
    own = {"data": task.dataset.fingerprint, **task.choices}
    differs = gather([own != decided(lambda: own, hosts)], hosts)[:, 0]
    if differs.any():
        raise RequestError(f"process {differs.argmax()} has other data, devices or operations than the first")


@contextlib.contextmanager
def claimed(folder: Folder, hosts: int) -> Iterator[Folder]:
    """Claims the folder of a run in the leader of the group, and a copy of its files in the others."""

    def files() -> dict[str, str]:
        stack.enter_context(folder.claimed())
        return {name: folder.read_text(name) for name in FOLLOWED if folder.has(name)}

    with contextlib.ExitStack() as stack:
        copies = decided(files, hosts)
        if leads(hosts):
            yield folder
            return
        own = Folder(stack.enter_context(tempfile.TemporaryDirectory(prefix="cnn_jax-")))
        for name, text in copies.items():
            own.write_text(name, text)
        yield own


def checkpoints_of(folder: Folder, config: Config, hosts: int) -> "Checkpoints | SharedCheckpoints":
    """The checkpoints of a run in progress."""
    if hosts == 1:
        return Checkpoints(folder.file("checkpoints"), config.keep_all)
    return SharedCheckpoints(folder.file("checkpoints"), config.keep_all, hosts)


class SharedCheckpoints:
    """The leader's checkpoints, in all processes of a group, which hold the same state."""

    def __init__(self, directory: Path, keep_all: bool, hosts: int):
        self._hosts = hosts
        self._own = Checkpoints(directory, keep_all) if leads(hosts) else None

    def latest(self, like: TrainState) -> Restored | None:
        """See `SavedCheckpoints.latest`."""
        return self._restored(lambda own: own.latest(like), like)

    def at(self, step: int, like: TrainState) -> Restored:
        """See `SavedCheckpoints.at`."""
        restored = self._restored(lambda own: own.at(step, like), like)
        assert restored is not None
        return restored

    def _restored(self, restore: Callable[[Checkpoints], Restored | None], like: TrainState) -> Restored | None:
        restored: Restored | None = None

        def header() -> dict[str, Any] | None:
            nonlocal restored
            assert self._own is not None
            restored = restore(self._own)
            if restored is None:
                return None
            return {"step": restored.step, "meta": restored.meta, "skipped": restored.skipped}

        found = decided(header, self._hosts)
        if found is None:
            return None
        return Restored(state=state_of_leader(restored.state if restored else like, self._hosts), **found)

    def save(self, *arguments: Any) -> None:
        """See `Checkpoints.save`."""
        if self._own is not None:
            self._own.save(*arguments)

    def discard_after(self, step: int) -> None:
        """See `Checkpoints.discard_after`."""
        if self._own is not None:
            self._own.discard_after(step)

    def wait(self) -> None:
        """See `Checkpoints.wait`."""
        if self._own is not None:
            self._own.wait()

    def close(self) -> None:
        """See `SavedCheckpoints.close`."""
        if self._own is not None:
            self._own.close()


def state_of_leader(state: TrainState, hosts: int) -> TrainState:
    """The state that the leader passes, bit for bit, in all processes of the group; those of the others have the same
    shapes."""
    if hosts == 1:
        return state
    leaves, tree = jax.tree.flatten(jax.device_get(state))
    content = from_leader(b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in leaves), hosts)
    if len(content) != sum(leaf.nbytes for leaf in leaves):
        raise RunError("the first process has another network or optimizer")
    ends = np.cumsum([0] + [leaf.nbytes for leaf in leaves])
    return jax.tree.unflatten(
        tree,
        [
            np.frombuffer(content[start:end], leaf.dtype).reshape(leaf.shape)
            for leaf, start, end in zip(leaves, ends, ends[1:], strict=False)
        ],
    )
