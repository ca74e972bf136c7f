"""Reads untrusted files with limits on size; any exception of a parser becomes one line that names the file."""

import contextlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from cnn_jax.errors import CnnJaxError, RequestError, quote, shortened

JSON_BYTES = 64 << 20  # of a file; a config has some kB, a record with the names of 20,000 classes 1 MB
JSON_DEPTH = 100  # nested brackets
DIGITS = 30  # of an integer

_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|([\[{])|([\]}])', re.DOTALL)


@contextlib.contextmanager
def parsing(source: Path | str, error: type[CnnJaxError] = RequestError) -> Iterator[None]:
    """Context manager around a parser of untrusted input: turns any exception into `error` with the source named."""
    try:
        yield
    except CnnJaxError:
        raise
    except FileNotFoundError:
        raise error(f"{source} does not exist") from None
    except OSError as reason:
        raise error(f"{source} cannot be read: {shortened(reason.strerror or str(reason))}") from reason
    except MemoryError as reason:
        raise error(f"{source} needs more memory than there is") from reason
    except RecursionError as reason:
        raise error(f"{source} is nested too deeply") from reason
    except Exception as reason:
        message = " ".join(str(reason).split()) or type(reason).__name__
        raise error(f"{source} is unreadable: {shortened(message)}") from reason


def read_bytes(path: Path | str, limit: int, error: type[CnnJaxError] = RequestError) -> bytes:
    """The content of a file. Raises `error` if it has more than `limit` bytes."""
    with parsing(path, error), open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise error(f"{path} is too large: more than {limit:,} bytes")
    return data


def read_json(path: Path | str, error: type[CnnJaxError] = RequestError) -> Any:
    """The value of a JSON file in UTF-8, with or without a byte order mark; see `parse_json`."""
    data = read_bytes(path, JSON_BYTES, error)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(f"{path} is not UTF-8: byte {reason.start} is 0x{data[reason.start]:02x}") from None
    return parse_json(text, path, error)


def parse_json(text: str, source: Path | str, error: type[CnnJaxError] = RequestError) -> Any:
    """The value of a JSON text, as strict as RFC 8259 allows: no NaN or infinity, no duplicate names in an object,
    nesting up to JSON_DEPTH and integers of up to DIGITS digits."""
    depth = 0
    for mark in _BRACKET.finditer(text):
        depth += bool(mark[1]) - bool(mark[2])
        if depth > JSON_DEPTH:
            raise error(f"{source} is no JSON for this: it is nested more than {JSON_DEPTH} deep")
    with parsing(source, error):
        try:
            return json.loads(
                text, parse_constant=_refuse, parse_float=_float, parse_int=_int, object_pairs_hook=_object
            )
        except ValueError as reason:
            raise error(f"{source} is no JSON: {shortened(str(reason))}") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _float(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"the number {shortened(digits, 40)} is too large")
    return value


def _int(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"the number {shortened(digits, 40)} has more than {DIGITS} digits")
    return int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"the name {quote(name)} stands twice in one object")
        values[name] = value
    return values
