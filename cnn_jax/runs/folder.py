"""The folder of a run: its files, written so that a kill at any moment leaves each of them whole."""

import json
import math
import os
from pathlib import Path
from typing import Any

from cnn_jax.errors import RequestError, RunError, writing

LOCK = ".lock"


def _finite(value: Any) -> Any:
    """`value` with null for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Folder:
    """A run's or a sweep's folder. JSON files appear whole or not at all; metrics.jsonl grows by whole lines."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    @property
    def occupied(self) -> bool:
        """Whether there is something at the path already, what a run leaves that was killed as it began aside."""
        if not self.path.exists():
            return False
        return not self.path.is_dir() or any(not path.name.startswith(".") for path in self.path.iterdir())

    def make(self) -> None:
        """Makes the folder where it is missing and clears what killed writes left. RequestError if that cannot be."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for partial in self.path.glob(".*.partial"):
                partial.unlink()
        except OSError as error:
            raise RequestError(f"{self.path} cannot be made: {error.strerror}") from None

    @classmethod
    def open(cls, path: Path | str) -> "Folder":
        """An existing folder of a run. RequestError if there is none."""
        folder = cls(path)
        if not folder.file("config.json").is_file():
            raise RequestError(f"{path} is no run's folder: it has no config.json")
        return folder

    def file(self, name: str) -> Path:
        return self.path / name

    def has(self, name: str) -> bool:
        return self.file(name).exists()

    def write_text(self, name: str, text: str) -> None:
        """Writes a file beside its place, then moves it there."""
        path = self.file(name)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with writing(path), partial.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def read_json(self, name: str) -> Any:
        """RunError that names the file if it is missing or no JSON."""
        path = self.file(name)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path} is missing") from None
        except (ValueError, OSError) as error:
            raise RunError(f"{path} is unreadable: {error}") from None

    def append_metrics(self, line: dict[str, Any]) -> None:
        path = self.file("metrics.jsonl")
        with writing(path), path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(_finite(line), allow_nan=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that a kill cut short is left out."""
        path = self.file("metrics.jsonl")
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def keep_metrics(self, until_step: int) -> list[dict[str, Any]]:
        """Drops the evaluations after a step, which a resumed run makes again. Returns those that stay."""
        kept = [line for line in self.metrics() if line["step"] <= until_step]
        self.write_text("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))
        return kept
