"""What the benchmarks' options have in common."""

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cnn_jax.cli.common import Common
from cnn_jax.errors import RequestError

PRIVATE = {"torch": "PYTHON", "out": "DIR", "data_dir": "DIR", "run": "RUN"}  # where things lie on this machine


@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """What every benchmark takes."""

    trains: ClassVar[bool] = True  # or explains, with the native operations

    rounds: int = 15
    """Turns of each contender."""
    torch: str | None = None
    """The Python of an environment with torch and numpy: PyTorch takes part."""
    out: Path | None = None
    """Folder for NAME.json (everything that was measured) and NAME.md (its tables)."""
    quick: bool = False
    """Only see that it runs."""

    def check(self) -> None:
        """RequestError for what cannot be measured."""
        if self.rounds is not None and self.rounds < 1:
            raise RequestError(f"--rounds {self.rounds}: it must be at least 1")

    @property
    def file(self) -> str:
        """What its files are called."""
        return type(self).__name__.lower()

    def command_line(self) -> str:
        """The command that anyone can run again: what differs from the defaults, without the places of this machine."""
        words = ["cnn-jax", "bench", type(self).__name__.lower()]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            shown = PRIVATE.get(field.name) or value
            values = [] if shown is True else map(str, shown) if isinstance(shown, tuple) else [str(shown)]
            words += ([] if field.name == "run" else [f"--{field.name.replace('_', '-')}"]) + list(values)
        return shlex.join(words)
