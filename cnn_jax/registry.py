"""Parts by name. Built-in and user-defined parts are registered and looked up in the same way."""

import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TypeVar

from cnn_jax.errors import RequestError, quote

Part = TypeVar("Part")
PACKAGE = str(Path(__file__).parent)
ORIGINS: dict[str, None] = {}  # the files outside this package that have registered a part, in order
_generation = 0


def generation() -> int:
    """A number that grows whenever a part is registered: a name resolved earlier may mean another part now."""
    return _generation


class Registry(Mapping[str, Part]):
    """The parts of one kind, e.g. every loss, by name and in order of registration."""

    def __init__(self, kind: str, others: str = ""):
        """`others` is text for error messages: what is accepted beside registered names."""
        self.kind, self.others = kind, others
        self._parts: dict[str, Part] = {}
        self._built_in: frozenset[str] | None = None  # until `seal`

    def add(self, name: str, part: Part) -> Part:
        """Registers `part` and returns it. Raises RequestError for a name that is built in or not an identifier. Other
        names may be registered again, as when a notebook cell is run twice."""
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w{0,63}", name):
            raise RequestError(f"{self.kind} {quote(name)}: a name is a word of letters, digits and _")
        if name in (self._built_in or ()):
            raise RequestError(f"{self.kind} {quote(name)} is built in; register yours under another name")
        global _generation
        _generation += 1
        self._parts[name] = part
        if self._built_in is not None and (origin := _origin()) is not None:
            ORIGINS[origin] = None
        return part

    def seal(self) -> None:
        """Marks the parts registered so far as built in."""
        self._built_in = frozenset(self._parts)

    def __getitem__(self, name: str) -> Part:
        """The part called `name`. Raises RequestError with similar names and a list of all names if there is none."""
        if name not in self._parts:
            near = difflib.get_close_matches(str(name), self._parts, n=3)
            guess = f" (did you mean {' or '.join(near)}?)" if near else ""
            raise RequestError(
                f"{self.kind} {quote(name)} is unknown{guess}; there are {', '.join(self._parts)}{self.others}, and "
                "those of a --plugin"
            )
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def _origin() -> str | None:
    """The file that registers the part: that of the nearest caller outside this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    path = None if frame is None else frame.f_code.co_filename
    return path if path is not None and Path(path).is_file() else None
