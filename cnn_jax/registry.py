"""Parts by name. What is built in is registered here as a researcher's own parts are, and found in the same way."""

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
ORIGINS: dict[str, None] = {}  # the files from outside of this package that have registered a part, in order
_generation = 0


def generation() -> int:
    """A number that grows whenever a part is registered: what was made from names before may mean another part now."""
    return _generation


class Registry(Mapping[str, Part]):
    """The parts of one kind, e.g. every loss, by name and in order of registration."""

    def __init__(self, kind: str, others: str = ""):
        """`others` says what else than registered names a place takes."""
        self.kind, self.others = kind, others
        self._parts: dict[str, Part] = {}
        self._built_in: frozenset[str] | None = None  # until they are all there

    def add(self, name: str, part: Part) -> Part:
        """Registers `part` and returns it. RequestError for a name that is built in or is no word. Another name may be
        registered again, as a notebook does whose cell is run twice."""
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
        """Declares the parts so far built in."""
        self._built_in = frozenset(self._parts)

    def __getitem__(self, name: str) -> Part:
        """RequestError that lists the names, the nearest first, where there is no such part."""
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
    """The file that is registering something: the nearest caller outside of this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    path = None if frame is None else frame.f_code.co_filename
    return path if path is not None and Path(path).is_file() else None
