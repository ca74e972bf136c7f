"""How a layer is written: parsing and filling in the templates of its words and options.

A template is text with fields in `<…>`, which stand for numbers, and at most one optional part in `[…]`.
"""

import functools
import re
from typing import Any

from cnn_jax.errors import RequestError, quote
from cnn_jax.typed import convert

LARGEST = 10**9  # of a number in a token
_FIELD = re.compile(r"<(\w+)>")
_SCALARS = (int, float, bool, str)


@functools.lru_cache(maxsize=1024)
def _pattern(template: str, floats: frozenset[str]) -> re.Pattern:
    pattern = re.escape(template).replace(r"\[", "(?:").replace(r"\]", ")?")
    for name in _FIELD.findall(template):
        number = r"\d+|\d*\.\d+" if name in floats else r"\d+"
        pattern = pattern.replace(f"<{name}>", f"(?P<{name}>{number})")
    return re.compile(pattern)


def read(template: str, types: dict[str, Any], text: str) -> dict[str, Any] | None:
    """The fields that `template` reads from `text`; None if it does not match. RequestError for a huge number."""
    floats = frozenset(name for name, kind in types.items() if kind is float)
    match = _pattern(template, floats).fullmatch(text)
    if match is None:
        return None
    return {
        name: float(digits) if name in floats else _number(digits)
        for name, digits in match.groupdict().items()
        if digits is not None
    }


def _number(digits: str) -> int:
    if (value := int(digits)) > LARGEST:
        raise RequestError(f"{quote(value)} in a network is too large; numbers go up to {LARGEST:,}")
    return value


def read_option(layer: Any, token: str, option: str, given: Any) -> dict[str, Any]:
    """The fields that `option` of a `token` sets in the class `layer`; `given` are the fields already set. Raises
    RequestError that lists the valid options."""
    types = {name: field.type for name, field in layer.fields().items()}
    for template, fixed in layer.options.items():
        if (fields := read(template, types, option)) is not None:
            return {**fixed, **fields}
    name, equals, text = option.partition("=")
    if equals and layer.open and name.isidentifier() and name not in types:
        return {name: value_of(text)}
    if equals and types.get(name) in _SCALARS:
        value = text if types[name] is str else value_of(text)
        return {name: convert(f"network token {quote(token)}: {name}", value, types[name])}
    listed = {*given, *(name for fixed in layer.options.values() for name in fixed)}
    listed |= {name for template in layer.options for name in _FIELD.findall(template)}
    free = [f"{name}=…" for name, kind in types.items() if kind in _SCALARS and name not in listed]
    valid = [f":{template}" for template in (*layer.options, *free, *["<name>=…"] * layer.open)]
    raise RequestError(
        f"network token {quote(token)}: option ':{option}' is unknown; valid here: {' '.join(valid) or 'none'}"
    )


def value_of(text: str) -> Any:
    """The value of an option: true or false, a number, else the text itself."""
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def text_of(value: Any) -> str:
    """The inverse of `value_of`; numbers without an exponent if that is exact."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and 0 <= value < 1e6:
        text = f"{value:.12f}".rstrip("0").rstrip(".")
        return text if float(text) == value else repr(value)
    return str(value)


def write(layer: Any) -> str:
    """The token of a layer. Raises RequestError for a field that no token can express."""
    values, defaults = layer.described(), {name: field.default for name, field in layer.fields().items()}
    for template, fixed in layer.spellings().items():
        if all(values[name] == value for name, value in fixed.items()):
            given = {*fixed, *_FIELD.findall(template)}
            rest = [name for name in values if name not in given and values[name] != defaults.get(name, ...)]
            options = [_write_option(layer, name, values[name]) for name in rest]
            return ":".join([_fill(template, values, defaults), *options])
    raise RequestError(f"{type(layer).__name__} has no notation; use its JSON form")


def _fill(template: str, values: dict[str, Any], defaults: dict[str, Any]) -> str:
    """A template filled in with the layer's numbers, without the part in brackets if its field has the default."""
    text, bracket, optional = template.partition("[")
    if bracket:
        (name,) = _FIELD.findall(optional)
        if values[name] != defaults[name]:
            text += optional.rstrip("]")
    return _FIELD.sub(lambda match: text_of(values[match[1]]), text)


def _write_option(layer: Any, name: str, value: Any) -> str:
    for template, fixed in layer.options.items():
        if fixed == {name: value}:
            return template
        if _FIELD.findall(template) == [name] and type(value) is int:
            return _fill(template, {name: value}, {})
    if isinstance(value, _SCALARS):
        return f"{name}={text_of(value)}"
    raise RequestError(f"{type(layer).__name__} has fields that the notation cannot express; use its JSON form")
