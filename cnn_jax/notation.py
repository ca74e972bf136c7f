"""Networks as text and as JSON.

Text is a list of tokens separated by spaces. Each layer class defines its tokens (`Layer.words`, `Layer.options`): a
word with numbers, and options after colons. Any other field of a layer is an option too, `bn:momentum=0.99`.

    conv<size>-<features>[/<stride>]  :valid :same :pad<padding> :g<groups> :d<dilation> :nobias
    max<size>[/<stride>] avg<size>[/<stride>]  :valid :same :pad<padding> :ceil   (the stride defaults to the size)
    gap  pad<amount>  sub<size>  lrn<size>  bn  drop<rate>  dense-<features>[:nobias]
    whiten<size>  dwconv<size>[/<stride>]  tconv<size>-<features>[/<stride>]  blur<size>[/<stride>]  up<factor>
    ln  gn<groups>  se-<squeezed>  scale<initial>  gate<initial>  droppath<rate>
    relu leaky<slope> prelu elu gelu silu …
    res( … )  with  ):proj  or  ):padA  for a shortcut other than the identity
    cat( … | … )  branches whose outputs are concatenated; an empty one is the input itself
    and the names of registered layers, activations and modules

The JSON form, a list of {"layer": name, field: value, …}, also covers what text cannot express (connection tables,
codes).
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

from cnn_jax import registry
from cnn_jax.errors import RequestError, quote
from cnn_jax.layers import LAYERS, MOST_LAYERS, MOST_NESTED, Concatenate, Layer, Residual, spelling
from cnn_jax.typed import convert

Layers = tuple[Layer, ...]

MOST_TEXT = 100_000  # characters of a network; ResNet-1202 has 36,000
MOST_TOKEN = 200  # characters of a token
_BLOCKS = {"res(": ("proj", "padA"), "cat(": ()}  # the words that open a block, and the options of its ')'


def parse(text: str) -> Layers:
    """The layers that `text` describes. Raises RequestError that names the invalid token and what is valid."""
    if len(text) > MOST_TEXT:
        raise RequestError(f"network {quote(text)}: more than {MOST_TEXT:,} characters")
    open_blocks: list[tuple[str, list[list[Layer]]]] = [("", [[]])]  # the opening word and the branches so far
    for token in text.split():
        if len(token) > MOST_TOKEN:
            raise RequestError(f"network token {quote(token)} is too long")
        word, *options = token.split(":")
        opened, branches = open_blocks[-1]
        if word in _BLOCKS:
            _refuse(token, options, ())
            open_blocks.append((word, [[]]))
            if len(open_blocks) > MOST_NESTED + 1:
                raise RequestError(f"network {quote(text)}: blocks within blocks, more than {MOST_NESTED} deep")
        elif word == "|":
            _refuse(token, options, ())
            if opened != "cat(":
                raise RequestError(f"network {quote(text)}: '|' separates the branches of 'cat(' and nothing else")
            branches.append([])
        elif word == ")":
            if not opened:
                raise RequestError(f"network {quote(text)}: ')' without {' or '.join(map(repr, _BLOCKS))}")
            _refuse(token, options, _BLOCKS[opened])
            open_blocks.pop()
            paths = tuple(map(tuple, branches))
            block = Concatenate(paths) if opened == "cat(" else Residual(*paths, *options)  # type: ignore[arg-type]
            open_blocks[-1][1][-1].append(block)
        else:
            branches[-1].append(_parse_token(token, registry.generation()))
    if len(open_blocks) > 1:
        raise RequestError(f"network {quote(text)}: '{open_blocks[-1][0]}' without ')'")
    return tuple(open_blocks[0][1][0])


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
    """The layer of one token. `generation`, of the registries, is part of the cache key."""
    word, *options = token.split(":")
    for layer in LAYERS.values():
        types = {name: field.type for name, field in layer.fields().items()}
        for template, fixed in layer.spellings().items():
            if (fields := spelling.read(template, types, word)) is not None:
                return _with_options(token, layer, {**fixed, **fields}, options)
    raise RequestError(f"network token {quote(token)} is unknown; tokens are {', '.join(words())}")


def words() -> list[str]:
    """The templates of the words of all layers."""
    return [word for layer in LAYERS.values() for word in layer.spellings()] + ["res( … )", "cat( … | … )"]


def _with_options(token: str, layer: type[Layer], fields: dict[str, Any], options: list[str]) -> Layer:
    """The layer with the fields of a word and of its options. Raises RequestError if a field is set twice."""
    for option in options:
        for name, value in spelling.read_option(layer, token, option, fields).items():
            if name in fields:
                raise RequestError(f"network token {quote(token)} sets its {name} twice")
            fields[name] = value
    try:
        return layer.make(**fields)
    except TypeError as error:
        raise RequestError(f"network token {quote(token)}: {str(error).split('() ')[-1]}") from None


def format(layers: Iterable[Layer]) -> str:
    """The text of `layers`, with parse(format(layers)) == layers. Raises RequestError if text cannot express them."""
    layers = tuple(layers)
    text = " ".join(layer.text() for layer in layers)
    if parse(text) != layers:
        layer = next(layer for layer in layers if parse(layer.text()) != (layer,))
        raise RequestError(f"{type(layer).__name__} has fields that the notation cannot express; use its JSON form")
    return text


def to_json(layers: Iterable[Layer]) -> list[dict[str, Any]]:
    """The lossless form: a dictionary per layer with its registered name and all fields that are not the default."""
    return [_layer_to_json(layer) for layer in layers]


def _layer_to_json(layer: Layer) -> dict[str, Any]:
    values: dict[str, Any] = {"layer": layer.registered_as}
    for name, field in layer.fields().items():
        value = getattr(layer, name)
        if name == "body":
            values[name] = to_json(value)
        elif name == "paths":
            values[name] = [to_json(path) for path in value]
        elif name == "arguments":
            values[name] = dict(value)
        elif field.default is dataclasses.MISSING or value != field.default:
            values[name] = value
    return values


def from_json(values: Iterable[Any]) -> Layers:
    """The inverse of `to_json`. Raises RequestError for an unknown class or field that lists the valid names."""
    return _from_json(values, 0)


def _from_json(values: Iterable[Any], depth: int) -> Layers:
    if depth > MOST_NESTED:
        raise RequestError(f"a network of blocks within blocks, more than {MOST_NESTED} deep")
    if len(values := list(values)) > MOST_LAYERS:
        raise RequestError(f"a network of {len(values):,} layers; it may have {MOST_LAYERS:,}")
    return tuple(_layer_from_json(value, depth) for value in values)


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
        elif name == "paths":
            paths = convert("Concatenate paths", value, list)
            fields[name] = tuple(_from_json(convert("Concatenate path", p, list), depth + 1) for p in paths)
        elif name == "arguments":
            given = convert("Wrapped arguments", value, dict[str, Any])
            fields[name] = tuple(sorted(given.items()))
        else:
            fields[name] = convert(f"{kind.__name__} {name}", value, types[name])
    try:
        return kind(**fields)
    except TypeError as error:
        raise RequestError(f"{kind.__name__}: {str(error).split('() ')[-1]}") from None
