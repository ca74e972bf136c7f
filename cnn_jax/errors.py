"""Exceptions for user errors. Their message is the single line that a command prints.

Messages have bounded length; `quote` shows an untrusted value within bounds.
"""

import contextlib
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST = 2000  # characters per message
QUOTED = 200  # characters per quoted value


class CnnJaxError(Exception):
    """Base class of errors that commands report as one line and an exit code, without a traceback."""

    exit_code = 1

    def __init__(self, message: object = ""):
        super().__init__(shortened(str(message), MOST))


class RequestError(CnnJaxError, ValueError):
    """An invalid request: an unknown name, an impossible network, an `--out` that exists."""

    exit_code = 2


class DataError(RequestError):
    """Data that are missing, unreadable, hostile or not what they claim to be. The message names the file."""


class RunError(CnnJaxError, RuntimeError):
    """A valid request that failed: no checkpoint is intact, the device ran out of memory."""


def reason(error: BaseException) -> str:
    """The message of an exception in one line, or its type if the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Adds `path` to an OSError without a file name, such as the one for a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def shortened(text: str, limit: int = QUOTED) -> str:
    """Removes the middle of `text` if it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    return f"{text[: limit * 2 // 3]} … ({len(text):,} characters) … {text[-limit // 6 :]}"


def quote(value: Any) -> str:
    """The repr of an untrusted value in at most about QUOTED characters, however long, deep or large it is."""
    return shortened(_bounded.repr(value))


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxtuple, self.maxdict, self.maxset = 4, 20, 20, 20, 20
        self.maxstring = self.maxother = 10 * QUOTED

    def repr_int(self, x: int, level: int) -> str:
        """Python raises ValueError when it prints an int of more than 4300 digits."""
        return repr(x) if x.bit_length() < 200 else f"a whole number of about {x.bit_length() * 0.30103:,.0f} digits"


_bounded = _Repr()
