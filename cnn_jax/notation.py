"""Networks as text and as JSON.

Text is a list of tokens separated by blanks. How each layer is written stands with it (`Layer.words`, `Layer.options`):
a word with its numbers, and options after colons. Any other field of a layer is an option too, `bn:momentum=0.99`.

    conv<size>-<features>[/<stride>]  :valid :same :pad<padding> :g<groups> :d<dilation> :nobias
    max<size>[/<stride>] avg<size>[/<stride>]  :valid :same :pad<padding> :ceil   (the stride is the size unless given)
    gap  pad<amount>  sub<size>  lrn<size>  bn  drop<rate>  dense-<features>[:nobias]
    relu tanh stanh sigmoid gelu silu
    res( … )  with  ):proj  or  ):padA  for another shortcut than the identity
    and the names of registered layers, activations and modules

What text cannot say (connection tables, codes) has a lossless JSON form: a list of {"layer": name, field: value, …}.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cnn_jax import registry
from cnn_jax.errors import RequestError, quote
from cnn_jax.layers import LAYERS, MOST_LAYERS, MOST_NESTED, Layer, Residual, Wrapped
from cnn_jax.typed import convert

Layers = tuple[Layer, ...]

MOST_TEXT = 100_000  # characters of a network, ResNet-1202 has 36,000
MOST_TOKEN = 200
LARGEST = 10**9  # of a number in a token
_SHORTCUTS = ("proj", "padA")
_FIELD = re.compile(r"<(\w+)>")
_NUMBERS = {int: r"\d+", int | None: r"\d+", float: r"\d+|\d*\.\d+"}


def parse(text: str) -> Layers:
    """The layers that `text` describes. Raises RequestError that names the token and what would be right."""
    if len(text) > MOST_TEXT:
        raise RequestError(f"network {quote(text)}: more than {MOST_TEXT:,} characters")
    open_blocks: list[list[Layer]] = [[]]
    for token in text.split():
        if len(token) > MOST_TOKEN:
            raise RequestError(f"network token {quote(token)} is too long")
        word, *options = token.split(":")
        if word == "res(":
            _refuse(token, options, ())
            open_blocks.append([])
            if len(open_blocks) > MOST_NESTED + 1:
                raise RequestError(f"network {quote(text)}: blocks within blocks, more than {MOST_NESTED} deep")
        elif word == ")":
            if len(open_blocks) == 1:
                raise RequestError(f"network {quote(text)}: ')' without 'res('")
            _refuse(token, options, _SHORTCUTS)
            body = tuple(open_blocks.pop())
            open_blocks[-1].append(Residual(body, options[0] if options else "identity"))  # type: ignore[arg-type]
        else:
            open_blocks[-1].append(_parse_token(token, registry.generation()))
    if len(open_blocks) > 1:
        raise RequestError(f"network {quote(text)}: 'res(' without ')'")
    return tuple(open_blocks[0])


def _refuse(token: str, options: list[str], known: Iterable[str]) -> None:
    known = tuple(known)
    for option in options:
        if option not in known:
            valid = " ".join(f":{name}" for name in known) or "none"
            raise RequestError(f"network token {quote(token)}: option ':{option}' is unknown; valid here: {valid}")
    if len(options) > 1:
        raise RequestError(f"network token {quote(token)} has more than one option")


@functools.lru_cache(maxsize=4096)
def _parse_token(token: str, generation: int) -> Layer:
    """A layer of one token, among the parts of a `generation` of the registries."""
    word, *options = token.split(":")
    for layer in LAYERS.values():
        for template, fixed in layer.spellings().items():
            if (fields := _match(layer, template, word)) is not None:
                return _with_options(token, layer, {**fixed, **fields}, options)
    raise RequestError(f"network token {quote(token)} is unknown; tokens are {', '.join(words())}")


def words() -> list[str]:
    """How every layer begins, as templates."""
    return [word for layer in LAYERS.values() for word in layer.spellings()] + ["res( … )"]


@functools.lru_cache(maxsize=1024)
def _pattern(template: str, numbers: tuple[tuple[str, str], ...]) -> re.Pattern:
    pattern = re.escape(template).replace(r"\[", "(?:").replace(r"\]", ")?")
    for field, number in numbers:
        pattern = pattern.replace(f"<{field}>", f"(?P<{field}>{number})")
    return re.compile(pattern, re.ASCII)


def _match(layer: type[Layer], template: str, text: str) -> dict[str, Any] | None:
    """The fields that `text` gives by a template; None where it does not fit."""
    types = layer.fields()
    names = _FIELD.findall(template)
    numbers = tuple((name, _NUMBERS[types[name].type if types[name].type in _NUMBERS else int]) for name in names)
    found = _pattern(template, numbers).fullmatch(text)
    if found is None:
        return None
    return {
        name: float(digits) if types[name].type is float else _number(digits)
        for name, digits in found.groupdict().items()
        if digits is not None
    }


def _number(digits: str) -> int:
    if (value := int(digits)) > LARGEST:
        raise RequestError(f"{quote(value)} in a network is too large; numbers go up to {LARGEST:,}")
    return value


def _with_options(token: str, layer: type[Layer], fields: dict[str, Any], options: list[str]) -> Layer:
    """The layer of a word's fields and of options, each of which sets a field once."""
    for option in options:
        for name, value in _option(token, layer, option, fields).items():
            if name in fields:
                raise RequestError(f"network token {quote(token)} sets its {name} twice")
            fields[name] = value
    if layer is Wrapped:
        kind = fields.pop("kind")
        return Wrapped(kind, tuple(sorted(fields.items())))
    if "stride" in fields and "size" in fields and layer.fields()["stride"].default is None:
        fields["stride"] = None if fields["stride"] == fields["size"] else fields["stride"]
    try:
        return layer(**fields)
    except TypeError as error:
        raise RequestError(f"network token {quote(token)}: {str(error).split('() ')[-1]}") from None


def _option(token: str, layer: type[Layer], option: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    for template, fixed in layer.options.items():
        if (found := _match(layer, template, option)) is not None:
            return {**fixed, **found}
    name, equals, text = option.partition("=")
    if layer is Wrapped and equals and name.isidentifier() and name != "kind":
        return {name: _value(text)}
    types = {name: field.type for name, field in layer.fields().items() if field.type in (int, float, bool, str)}
    if equals and name in types:
        return {name: convert(f"network token {quote(token)}: {name}", _value(text, types[name]), types[name])}
    listed = {*fields, *(name for fixed in layer.options.values() for name in fixed)}
    listed |= {name for template in layer.options for name in _FIELD.findall(template)}
    free = ["<name>=<value>"] if layer is Wrapped else [f"{name}=…" for name in types if name not in listed]
    valid = " ".join(f":{template}" for template in (*layer.options, *free)) or "none"
    raise RequestError(f"network token {quote(token)}: option ':{option}' is unknown; valid here: {valid}")


def _value(text: str, kind: Any = None) -> Any:
    """A value in text: true or false, a number, else the text itself; `kind` str takes it as it is."""
    if kind is str:
        return text
    if text in ("true", "false"):
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def format(layers: Iterable[Layer]) -> str:
    """The text of `layers`, with parse(format(layers)) == layers. Raises RequestError for what text cannot say."""
    layers = tuple(layers)
    text = " ".join(map(_format_layer, layers))
    if parse(text) != layers:
        unsaid = next(layer for layer in layers if parse(_format_layer(layer)) != (layer,))
        raise _unsaid(unsaid)
    return text


def _unsaid(layer: Layer) -> RequestError:
    return RequestError(f"{type(layer).__name__} has fields that the notation cannot say; use its JSON form")


def _format_layer(layer: Layer) -> str:
    if isinstance(layer, Residual):
        option = "" if layer.shortcut == "identity" else f":{layer.shortcut}"
        return " ".join(["res(", *map(_format_layer, layer.body), f"){option}"])
    if isinstance(layer, Wrapped):
        return ":".join([layer.kind, *(f"{name}={_text(value)}" for name, value in layer.arguments)])
    values = {name: getattr(layer, name) for name in layer.fields()}
    for template, fixed in layer.spellings().items():
        if all(values[name] == value for name, value in fixed.items()):
            said = {*fixed, *_FIELD.findall(template)}
            rest = {
                name: value
                for name, value in values.items()
                if name not in said and value != layer.fields()[name].default
            }
            return ":".join([_fill(layer, template), *(_format_option(layer, name, rest[name]) for name in rest)])
    raise RequestError(f"{type(layer).__name__} has no notation; use its JSON form")


def _fill(layer: Layer, template: str) -> str:
    """A template with the layer's numbers; what is in brackets is left out where its field has its default."""
    required, bracket, optional = template.partition("[")
    if bracket:
        (name,) = _FIELD.findall(optional)
        if getattr(layer, name) != layer.fields()[name].default:
            required += optional.rstrip("]")
    return _FIELD.sub(lambda name: _text(getattr(layer, name[1])), required)


def _format_option(layer: Layer, name: str, value: Any) -> str:
    for template, fixed in layer.options.items():
        if fixed == {name: value}:
            return template
        if _FIELD.findall(template) == [name] and type(value) is int:
            return _fill(layer, template)
    if isinstance(value, bool | int | float | str):
        return f"{name}={_text(value)}"
    raise _unsaid(layer)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and 0 <= value < 1e6:
        text = f"{value:.12f}".rstrip("0").rstrip(".")
        return text if float(text) == value else repr(value)
    return str(value)


def to_json(layers: Iterable[Layer]) -> list[dict[str, Any]]:
    """The lossless form: a dictionary per layer with its registered name and every field off its default."""
    return [_layer_to_json(layer) for layer in layers]


def _layer_to_json(layer: Layer) -> dict[str, Any]:
    values: dict[str, Any] = {"layer": layer.registered_as}  # type: ignore[attr-defined]
    for name, field in layer.fields().items():
        value = getattr(layer, name)
        if name == "body":
            values[name] = to_json(value)
        elif name == "arguments":
            values[name] = dict(value)
        elif field.default is dataclasses.MISSING or value != field.default:
            values[name] = value
    return values


def from_json(values: Iterable[Any]) -> Layers:
    """The inverse of `to_json`. Raises RequestError for an unknown class or field, with the valid ones listed."""
    return _from_json(values, 0)


def _from_json(values: Iterable[Any], depth: int) -> Layers:
    if depth > MOST_NESTED:
        raise RequestError(f"a network of blocks within blocks, more than {MOST_NESTED} deep")
    if len(values := list(values)) > MOST_LAYERS:
        raise RequestError(f"a network of {len(values):,} layers; it may have {MOST_LAYERS:,}")
    return tuple(_layer_from_json(one, depth) for one in values)


def _layer_from_json(values: Any, depth: int) -> Layer:
    if not isinstance(values, dict) or str(values.get("layer")) not in LAYERS:
        raise RequestError(f"{quote(values)} is no layer; give {{'layer': …}} with one of {', '.join(LAYERS)}")
    kind = LAYERS[values["layer"]]
    types = {name: field.type for name, field in kind.fields().items()}
    fields = {name: value for name, value in values.items() if name != "layer"}
    if unknown := [name for name in fields if name not in types]:
        raise RequestError(f"{kind.__name__} has no field {quote(unknown[0])}; it has {', '.join(types)}")
    for name, value in fields.items():
        if name == "body":
            fields[name] = _from_json(convert("Residual body", value, list), depth + 1)
        elif name == "arguments":
            given = convert("Wrapped arguments", value, dict[str, Any])
            fields[name] = tuple(sorted(given.items()))
        else:
            fields[name] = convert(f"{kind.__name__} {name}", value, types[name])
    try:
        return kind(**fields)
    except TypeError as error:
        raise RequestError(f"{kind.__name__}: {str(error).split('() ')[-1]}") from None
