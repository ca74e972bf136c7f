"""The options common to all benchmarks."""

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cnn_jax.cli.common import Common
from cnn_jax.errors import RequestError

PRIVATE = {"torch": "PYTHON", "out": "DIR", "data_dir": "DIR", "run": "RUN"}  # paths on this machine, not recorded


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """The options of every benchmark."""

    trains: ClassVar[bool] = True  # uses the native operations

    rounds: int = 15
    """Turns of each contender."""
    torch: str | None = None
    """Python of an environment with torch and numpy: also measure PyTorch."""
    out: Path | None = None
    """Folder for NAME.json (all measurements) and NAME.md (the tables)."""
    quick: bool = False
    """Only check that it runs."""

    def check(self) -> None:
        """Raises RequestError for invalid options."""
        if self.rounds is not None and self.rounds < 1:
            raise RequestError(f"--rounds {self.rounds}: it must be at least 1")

    @property
    def file(self) -> str:
        """The name of its files."""
        return type(self).__name__.lower()

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for this process and its workers, set before anything is built or measured."""
        return {}

    def command_line(self) -> str:
        """The command that reproduces the benchmark: options that differ from their defaults, without local paths."""
        words = ["cnn-jax", "bench", type(self).__name__.lower()]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            shown = PRIVATE.get(field.name) or value
            values = [] if shown is True else map(str, shown) if isinstance(shown, tuple) else [str(shown)]
            words += ([] if field.name == "run" else [f"--{field.name.replace('_', '-')}"]) + list(values)
        return shlex.join(words)
