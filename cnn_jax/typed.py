"""Checks values from JSON or a caller against a type annotation."""

import types
import typing
from typing import Any, Literal

from cnn_jax.errors import RequestError, quote

LARGEST = 2**63 - 1  # the largest integer that every part can hold


def convert(name: str, value: Any, hint: Any) -> Any:
    """`value` converted to the type `hint`: an integer may stand for a float, and a list for a tuple. Raises
    RequestError with `name` and the expected type for any other value."""
    if isinstance(value, int) and abs(value) > LARGEST:
        raise RequestError(f"{name} = {quote(value)} is too large")
    if (
        isinstance(value, str)
        and not value.isprintable()
        and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)
    ):
        raise RequestError(f"{name} = {quote(value)} is no text: it has a NUL or half a character")
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in options:
            try:
                return convert(name, value, option)
            except RequestError:
                continue
    elif origin is Literal:
        if isinstance(value, str) and value in options:
            return value
        raise RequestError(f"{name} = {quote(value)} must be one of {', '.join(options)}")
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(convert(name, item, options[0]) for item in value)
    elif origin is dict:
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: convert(f"{name}.{key}", item, options[1]) for key, item in value.items()}
    elif hint is Any:
        return value
    elif origin is list:
        if isinstance(value, list):
            return value
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif hint is types.NoneType:
        if value is None:
            return None
    elif type(value) is hint:
        return value
    raise RequestError(f"{name} = {quote(value)} has the wrong type; expected {_words(hint)}")


def _words(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", types.NoneType: "null"}
    if hint in words:
        return words[hint]
    if typing.get_origin(hint) in (tuple, list):
        return "a list"
    if typing.get_origin(hint) is dict:
        return "an object"
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    return " or ".join(map(_words, typing.get_args(hint)))
