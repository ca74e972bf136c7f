"""What a user can get wrong, as exceptions whose message is the one line that a command prints.

A message is bounded, whatever it quotes; `quote` shows a value from elsewhere within bounds.
"""

import contextlib
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST = 2000  # characters of a message
QUOTED = 200  # characters of a value in it


class CnnJaxError(Exception):
    """Base of every error that a command reports as one line and an exit code, without a traceback."""

    exit_code = 1

    def __init__(self, message: object = ""):
        super().__init__(shortened(str(message), MOST))


class RequestError(CnnJaxError, ValueError):
    """A request that cannot be met as it stands: an unknown name, an impossible network, an `--out` that exists."""

    exit_code = 2


class DataError(RequestError):
    """Data that is missing, unreadable, hostile or not what it claims to be. The message names the file."""


class RunError(CnnJaxError, RuntimeError):
    """A run that failed although the request was sound: no checkpoint is good, the device ran out of memory."""


def reason(error: BaseException) -> str:
    """What an exception says, in one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Around writes to `path`: an OSError that names no file, as that of a full disk, names this one."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def shortened(text: str, most: int = QUOTED) -> str:
    """`text`, without its middle where it has more than `most` characters."""
    if len(text) <= most:
        return text
    return f"{text[: most * 2 // 3]} … ({len(text):,} characters) … {text[-most // 6 :]}"


def quote(value: Any) -> str:
    """The repr of a value from elsewhere, in at most about QUOTED characters: however long, deep or large it is."""
    return shortened(_bounded.repr(value))


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxtuple, self.maxdict, self.maxset = 4, 20, 20, 20, 20
        self.maxstring = self.maxother = 10 * QUOTED

    def repr_int(self, x: int, level: int) -> str:
        """Python itself refuses to print an int of more than 4300 digits."""
        return repr(x) if x.bit_length() < 200 else f"a whole number of about {x.bit_length() * 0.30103:,.0f} digits"


_bounded = _Repr()
