"""Frozen dataclasses to JSON and back, with strict checks when reading."""

import dataclasses
import math
import types
import typing
from typing import Any, TypeVar

from cnn_jax.errors import RequestError
from cnn_jax.typed import convert

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """A dataclass as an object of its fields, recursively; tuples become lists."""
    if hasattr(value, "to_json") and not isinstance(value, type):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[T], values: Any, what: str) -> T:
    """The inverse of `to_json`: exactly the fields of `kind`, each of its type. Raises RequestError that names `what`
    and the field that is missing, unknown or of another type."""
    if not isinstance(values, dict):
        raise RequestError(f"{what} must be an object of fields")
    hints = typing.get_type_hints(kind)
    later = {field.name for field in dataclasses.fields(kind) if field.metadata.get("later")}  # type: ignore[arg-type]
    if missing := [name for name in hints if name not in values and name not in later]:
        raise RequestError(f"{what} lacks {', '.join(missing)}")
    if unknown := [name for name in values if name not in hints]:
        raise RequestError(
            f"{what} has {', '.join(unknown)[:80]}, which {'is' if len(unknown) == 1 else 'are'} unknown"
        )
    present = {name: hint for name, hint in hints.items() if name in values}
    return kind(**{name: _value(f"{what}.{name}", values[name], hint) for name, hint in present.items()})


def _value(name: str, value: Any, hint: Any) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType) and value is None and types.NoneType in options:
        return None
    if origin in (typing.Union, types.UnionType):
        (hint,) = (option for option in options if option is not types.NoneType)
        return _value(name, value, hint)
    if dataclasses.is_dataclass(hint):
        own = getattr(hint, "from_json", None)
        return own(value) if own else from_json(hint, value, name)  # type: ignore[arg-type]
    if origin is dict and isinstance(value, dict):
        return {key: _value(f"{name}.{key}", item, options[1]) for key, item in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        if options[-1] is not Ellipsis and len(value) != len(options):
            raise RequestError(f"{name} must have {len(options)} values")
        return tuple(_value(name, item, options[0]) for item in value)
    number = convert(name, value, dict if origin is dict else hint)
    if isinstance(number, float) and not math.isfinite(number):
        raise RequestError(f"{name} = {value!r} is not finite")
    return number
