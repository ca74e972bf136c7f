"""Errors that a user can cause. The message of each is the one line that a command prints.

Messages have a maximum length, whatever they quote; `quote` formats an untrusted value with bounded length.
"""

import contextlib
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_MESSAGE = 2000  # characters
MAX_QUOTE = 200  # characters of a value in a message


class CnnJaxError(Exception):
    """Base of every error that a command reports as one line and an exit code, without a traceback."""

    exit_code = 1

    def __init__(self, message: object = ""):
        super().__init__(shortened(str(message), MAX_MESSAGE))


class RequestError(CnnJaxError, ValueError):
    """An invalid request: an unknown name, an impossible network, an `--out` that exists."""

    exit_code = 2


class DataError(RequestError):
    """Data that is missing, unreadable, malicious or not what it claims to be. The message names the file."""


class RunError(CnnJaxError, RuntimeError):
    """A run that failed although the request was valid: no checkpoint is intact, the device ran out of memory."""


def reason(error: BaseException) -> str:
    """The message of an exception in one line, or its type if the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Context manager around writes to `path`: adds the path to an OSError without a file name, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def shortened(text: str, limit: int = MAX_QUOTE) -> str:
    """`text` without its middle if it has more than `limit` characters."""
    if len(text) <= limit:
        return text
    return f"{text[: limit * 2 // 3]} … ({len(text):,} characters) … {text[-limit // 6 :]}"


def quote(value: Any) -> str:
    """The repr of an untrusted value in about MAX_QUOTE characters at most, however long, deep or large it is."""
    return shortened(_bounded.repr(value))


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxtuple, self.maxdict, self.maxset = 4, 20, 20, 20, 20
        self.maxstring = self.maxother = 10 * MAX_QUOTE

    def repr_int(self, x: int, level: int) -> str:
        """Shortens huge integers: Python itself refuses to print more than 4300 digits."""
        return repr(x) if x.bit_length() < 200 else f"a whole number of about {x.bit_length() * 0.30103:,.0f} digits"


_bounded = _Repr()
