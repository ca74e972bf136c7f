"""The folder of a run: its files, each written so that a kill at any moment leaves it complete."""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from cnn_jax import plugins, registry, untrusted
from cnn_jax.errors import RequestError, RunError, quote, writing
from cnn_jax.metrics import EpochMetrics
from cnn_jax.runs.schema import SCHEMA, Record, Result

LOCK = ".lock"
T = TypeVar("T", Result, Record)


def _finite(value: Any) -> Any:
    """Replaces NaN and infinity, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Folder:
    """The folder of a run or sweep. JSON files are written atomically; metrics.jsonl grows by whole lines."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    @property
    def occupied(self) -> bool:
        """True if the path exists and holds more than the leftovers of a run that was killed at start-up."""
        if not self.path.exists():
            return False
        return not self.path.is_dir() or any(not path.name.startswith(".") for path in self.path.iterdir())

    @contextlib.contextmanager
    def claimed(self) -> Iterator["Folder"]:
        """Creates the folder if necessary, holds its lock, and removes partial files left by killed writes.

        Raises RequestError if another process holds the lock, the folder cannot be created, or an entry is a link:
        files written here must not end up elsewhere.
        """
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.file(LOCK), timeout=0):
                for entry in self.path.iterdir():
                    if entry.is_symlink():
                        raise RequestError(f"{entry} is a link: a run writes only into its own folder; remove it")
                for partial in self.path.glob(".*.partial"):
                    partial.unlink()
                yield self
        except Timeout:
            raise RequestError(f"{self.path} is in use by another process") from None
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise RequestError(f"{self.path} cannot be created: {error.strerror}") from None

    @classmethod
    def open(cls, path: Path | str) -> "Folder":
        """Opens the existing folder of a run. Raises RequestError if there is none, RunError if a plugin is missing."""
        folder = cls(path)
        if not folder.has("config.json"):
            raise RequestError(f"{path} is not a run's folder: it has no config.json")
        if folder.has("record.json"):
            folder._need_plugins()
        return folder

    def _need_plugins(self) -> None:
        """Raises RunError for a plugin of the run that is not loaded. The copy in the folder is executed only if the
        user trusts it (`--trust-plugins`)."""
        sources = self.read("record.json", Record).provenance.plugins
        loaded = plugins.known(registry.ORIGINS) if sources else {}
        for source in sources:
            if source.sha256 in loaded:
                continue
            if not plugins.trusted:
                raise RunError(
                    f"{self.path} needs the plugin {source.path} (sha256 {source.sha256[:12]}…): give --plugin "
                    f"{source.path}, or --trust-plugins to execute the copy {self.file(source.copy)}"
                )
            if hashlib.sha256(self.read_bytes(source.copy)).hexdigest() != source.sha256:
                raise RunError(f"{self.file(source.copy)} is damaged: it is not the plugin that was recorded")
            plugins.load(str(self.file(source.copy)))

    def file(self, name: str) -> Path:
        return self.path / name

    def has(self, name: str) -> bool:
        return self.file(name).exists()

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a file atomically: under a temporary name, then renamed."""
        path = self.file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with writing(path), partial.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)

    def write_text(self, name: str, text: str) -> None:
        self.write_bytes(name, text.encode("utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write(self, name: str, value: Result | Record) -> None:
        self.write_json(name, value.to_json())

    def read_bytes(self, name: str) -> bytes:
        """Reads a file. Raises RunError that names the file if it is unreadable or larger than `JSON_BYTES`."""
        return untrusted.read_bytes(self.file(name), untrusted.JSON_BYTES, RunError)

    def read_text(self, name: str) -> str:
        with untrusted.parsing(self.file(name), RunError):
            return self.read_bytes(name).decode("utf-8")

    def read_json(self, name: str) -> Any:
        """Reads a JSON file. Raises RunError that names the file if it is missing or not JSON."""
        return untrusted.read_json(self.file(name), RunError)

    def read(self, name: str, kind: type[T]) -> T:
        """Reads a file as an instance of `kind`. Raises RunError that says what is wrong with the file."""
        values = self.read_json(name)
        if isinstance(values, dict) and values.get("schema") != SCHEMA:
            schema = quote(values.get("schema", 1))
            raise RunError(
                f"{self.file(name)} has schema {schema}, this version reads {SCHEMA}: train again with --config"
            )
        try:
            return kind.from_json(values)
        except RequestError as error:
            raise RunError(f"{self.file(name)} is damaged: {error}") from None

    def append_metrics(self, metrics: EpochMetrics) -> None:
        path = self.file("metrics.jsonl")
        with writing(path), path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(_finite(metrics.to_json()), allow_nan=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())

    def metrics(self) -> list[EpochMetrics]:
        """The lines of metrics.jsonl, without a last line truncated by a kill. Raises RunError if another line is
        damaged or epochs or steps do not increase."""
        if not self.has("metrics.jsonl"):
            return []
        lines = self.read_text("metrics.jsonl").splitlines(keepends=True)
        metrics: list[EpochMetrics] = []
        for number, line in enumerate((line for line in lines if line.endswith("\n")), 1):
            try:
                metrics.append(EpochMetrics.from_json(untrusted.parse_json(line, self.file("metrics.jsonl"), RunError)))
            except RequestError as error:
                raise RunError(f"{self.file('metrics.jsonl')} is damaged in line {number}: {error}") from None
            if metrics[-1].epoch != number or (number > 1 and metrics[-1].step <= metrics[-2].step):
                raise RunError(f"{self.file('metrics.jsonl')} is damaged in line {number}: it should be epoch {number}")
        return metrics

    def keep_metrics(self, until_step: int) -> list[EpochMetrics]:
        """Drops the evaluations after a step, which a resumed run repeats. Returns the remaining ones."""
        before = [metrics for metrics in self.metrics() if metrics.step <= until_step]
        self.write_text("metrics.jsonl", "".join(json.dumps(metrics.to_json()) + "\n" for metrics in before))
        return before
