"""Networks as text and as JSON.

Text is a list of tokens separated by blanks, each with options after colons:

    conv<size>-<filters>[/stride]  :valid :same :pad<n> :g<groups> :d<dilation> :nobias
    max<size>[/stride] avg<size>[/stride]  :valid :same :pad<n> :ceil   (the stride is the size unless given)
    gap  pad<n>  sub<n>  lrn<n>  bn  drop<rate>  dense-<units>[:nobias]
    relu tanh stanh sigmoid gelu silu
    res( … )  with  ):proj  or  ):padA  for another shortcut than the identity

What text cannot say (connection tables, biases per position, codes, constants off their defaults) has a lossless JSON
form: a list of {"layer": class, field: value, …}.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import Any

from cnn_jax.errors import RequestError, quote
from cnn_jax.layers import (
    ACTIVATIONS,
    LAYERS,
    MOST_LAYERS,
    MOST_NESTED,
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    GlobalPool,
    Layer,
    LocalResponseNorm,
    Pad,
    Pool,
    Residual,
    Subsample,
)  # fmt: skip
from cnn_jax.typed import convert

Layers = tuple[Layer, ...]

MOST_TEXT = 100_000  # characters of a network, ResNet-1202 has 36,000
MOST_TOKEN = 200
LARGEST = 10**9  # of a number in a token
_SHORTCUTS = ("proj", "padA")
_TOKENS = "conv<size>-<filters>, max<size>, avg<size>, gap, pad<n>, sub<n>, lrn<n>, bn, drop<rate>, dense-<units>, " + (
    ", ".join(ACTIVATIONS) + ", res( … )"
)


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
            open_blocks[-1].append(_parse_token(token, word, options))
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


def _parse_token(token: str, word: str, options: list[str]) -> Layer:
    if found := re.fullmatch(r"conv(\d+)-(\d+)(?:/(\d+))?", word):
        size, features, step = map(_number, found.groups(default="1"))
        return Conv(features, size, step, **_window_options(token, options, "g", "d", "nobias"))
    if found := re.fullmatch(r"(max|avg)(\d+)(?:/(\d+))?", word):
        kind, digits, given = found.groups()
        stride = None if given in (None, digits) else _number(given)
        fields = _window_options(token, options, "ceil")
        return Pool(kind, _number(digits), stride, **fields)  # type: ignore[arg-type]
    if found := re.fullmatch(r"dense-(\d+)", word):
        _refuse(token, options, ("nobias",))
        return Dense(_number(found[1]), bias="nobias" not in options)
    _refuse(token, options, ())
    for pattern, make in _PLAIN.items():
        if found := re.fullmatch(pattern, word):
            return make(*found.groups())
    raise RequestError(f"network token {quote(token)} is unknown; tokens are {_TOKENS}")


def _number(digits: str) -> int:
    if (value := int(digits)) > LARGEST:
        raise RequestError(f"{quote(value)} in a network is too large; numbers go up to {LARGEST:,}")
    return value


_PLAIN: dict[str, Callable[..., Layer]] = {
    rf"({'|'.join(ACTIVATIONS)})": Activation,
    r"gap": GlobalPool,
    r"bn": BatchNorm,
    r"pad(\d+)": lambda amount: Pad(_number(amount)),
    r"sub(\d+)": lambda size: Subsample(_number(size)),
    r"lrn(\d+)": lambda size: LocalResponseNorm(_number(size)),
    r"drop(\d+|\d*\.\d+)": lambda rate: Dropout(float(rate)),
}


def _window_options(token: str, options: list[str], *more: str) -> dict[str, Any]:
    """The fields that the options of a sliding layer set; each at most once."""
    fields: dict[str, Any] = {}
    for option in options:
        if option in ("valid", "same"):
            field, value = "padding", option
        elif found := re.fullmatch(r"pad(\d+)", option):
            field, value = "padding", _number(found[1])  # type: ignore[assignment]
        elif option == "nobias" and option in more:
            field, value = "bias", False  # type: ignore[assignment]
        elif option == "ceil" and option in more:
            field, value = "ceil", True  # type: ignore[assignment]
        elif (found := re.fullmatch(r"([gd])(\d+)", option)) and found[1] in more:
            field, value = {"g": "groups", "d": "dilation"}[found[1]], _number(found[2])  # type: ignore[assignment]
        else:
            names = {"g": ":g<groups>", "d": ":d<dilation>"}
            valid = " ".join([":valid", ":same", ":pad<n>", *(names.get(name, f":{name}") for name in more)])
            raise RequestError(f"network token {quote(token)}: option ':{option}' is unknown; valid here: {valid}")
        if field in fields:
            raise RequestError(f"network token {quote(token)} sets its {field} twice")
        fields[field] = value
    return fields


def format(layers: Iterable[Layer]) -> str:
    """The text of `layers`, with parse(format(layers)) == layers. Raises RequestError for what text cannot say."""
    layers = tuple(layers)
    text = " ".join(map(_format_layer, layers))
    if parse(text) != layers:
        unsaid = next(layer for layer in layers if parse(_format_layer(layer)) != (layer,))
        raise RequestError(f"{type(unsaid).__name__} has fields that the notation cannot say; use its JSON form")
    return text


def _format_layer(layer: Layer) -> str:
    match layer:
        case Conv():
            stride = f"/{layer.stride}" if layer.stride != 1 else ""
            options = [f"g{layer.groups}"] * (layer.groups != 1) + [f"d{layer.dilation}"] * (layer.dilation != 1)
            options += ["nobias"] * (not layer.bias)
            return ":".join([f"conv{layer.size}-{layer.features}{stride}", *_padding(layer.padding), *options])
        case Pool():
            stride = f"/{layer.stride}" if layer.stride not in (None, layer.size) else ""
            return ":".join([f"{layer.kind}{layer.size}{stride}", *_padding(layer.padding), *["ceil"] * layer.ceil])
        case Dense():
            return f"dense-{layer.features}" + ":nobias" * (not layer.bias)
        case Residual():
            option = "" if layer.shortcut == "identity" else f":{layer.shortcut}"
            return " ".join(["res(", *map(_format_layer, layer.body), f"){option}"])
        case Pad():
            return f"pad{layer.amount}"
        case Subsample() | LocalResponseNorm():
            return f"{layer.kind}{layer.size}"
        case Dropout():
            return f"drop{layer.rate:.12f}".rstrip("0").rstrip(".")
        case GlobalPool() | BatchNorm() | Activation():
            return layer.kind
    raise RequestError(f"{type(layer).__name__} has no notation; use its JSON form")


def _padding(padding: Any) -> list[str]:
    return [] if padding == "valid" else [padding if padding == "same" else f"pad{padding}"]


def to_json(layers: Iterable[Layer]) -> list[dict[str, Any]]:
    """The lossless form: a dictionary per layer with its class and every field off its default."""
    return [_layer_to_json(layer) for layer in layers]


def _layer_to_json(layer: Layer) -> dict[str, Any]:
    values = {"layer": type(layer).__name__}
    for field in _fields(type(layer)):
        value = getattr(layer, field.name)
        if field.name == "body":
            values[field.name] = to_json(value)  # type: ignore[assignment]
        elif field.default is dataclasses.MISSING or value != field.default:
            values[field.name] = value
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
    names = [field.name for field in _fields(kind)]
    hints = {field.name: field.type for field in _fields(kind)}
    fields = {name: value for name, value in values.items() if name != "layer"}
    if unknown := [name for name in fields if name not in names]:
        raise RequestError(f"{kind.__name__} has no field {quote(unknown[0])}; it has {', '.join(names)}")
    for name, value in fields.items():
        if name == "body":
            fields[name] = _from_json(convert("Residual body", value, list), depth + 1)
        else:
            fields[name] = convert(f"{kind.__name__} {name}", value, hints[name])
    try:
        return kind(**fields)
    except TypeError as error:
        raise RequestError(f"{kind.__name__}: {str(error).split('() ')[-1]}") from None


def _fields(kind: type) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(kind) if field.name not in ("parent", "name")]
