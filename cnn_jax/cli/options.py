"""Command-line options for the fields of a config, in named groups, for `train`, `sweep` and `range`."""

import ast
import dataclasses
import functools
import inspect
import json
import textwrap
import typing
from typing import Annotated, Any

from cnn_jax.data.load import DATASETS
from cnn_jax.errors import RequestError, quote
from cnn_jax.layers.spelling import text_of, value_of
from cnn_jax.losses import LOSSES
from cnn_jax.training.augment import AUGMENTATIONS
from cnn_jax.training.config import Config
from cnn_jax.training.rules import OPTIMIZERS
from cnn_jax.training.schedule import SCHEDULES
from cnn_jax.untrusted import parse_json
from cnn_jax.zoo import NETWORKS

GROUPS = {
    "network": ("network", "network_args", "filters", "initialiser", "init_scale", "dropout", "init"),
    "data": (
        "dataset", "data_dir", "image_size", "resize", "stream", "validation", "train_examples", "split_seed",
        "without_test", "augment",
    ),
    "training": (
        "epochs", "batch_size", "seed", "loss", "label_smoothing", "accumulate", "ema", "fresh_statistics", "keep_all",
    ),
    "distillation": ("teacher", "teacher_weight", "temperature"),
    "optimizer": (
        "learning_rate", "optimizer", "optimizer_args", "momentum", "nesterov", "weight_decay", "rates", "decays",
        "clip_norm", "backward", "gradient_noise", "sam",
    ),
    "schedule": ("schedule", "schedule_args", "warmup_epochs", "decay_epochs", "decay_factor"),
    "scoring": ("select", "final_fit", "views"),
    "computation": ("precision", "dtype", "implementation", "remat", "devices", "hosts"),
}  # fmt: skip
ARGUMENTS = ("network_args", "optimizer_args", "schedule_args", "rates", "decays")


@functools.cache
def descriptions() -> dict[str, str]:
    """The help text of each config field: the docstring below its declaration."""
    body = ast.parse(textwrap.dedent(inspect.getsource(Config))).body[0].body  # type: ignore[attr-defined]
    texts: dict[str, str] = {}
    for field, text in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            texts[field.target.id] = " ".join(str(text.value.value).split())  # type: ignore[union-attr]
    return texts


def _names(field: str) -> list[str]:
    """The registered names for a field, including those of plugins, as help text."""
    registries: dict[str, Any] = {
        "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "loss": LOSSES, "dataset": DATASETS, "network": NETWORKS,
        "augment": AUGMENTATIONS,
    }  # fmt: skip
    return [f"Registered: {', '.join(registries[field])}."] if field in registries else []


@functools.cache
def groups(without: tuple[str, ...]) -> dict[str, type]:
    """A dataclass for each group, without the fields `without`."""
    import tyro

    hints, kinds = typing.get_type_hints(Config), {}
    for group, names in GROUPS.items():
        fields: list[Any] = []
        for name in names:
            if name in without:
                continue
            kind: Any = tuple[str, ...] if name in ARGUMENTS else str if name == "network" else hints[name]
            help = " ".join([descriptions().get(name, ""), *_names(name)]).strip()
            fields.append((name, Annotated[kind, tyro.conf.arg(help=help)], dataclasses.field(default=None)))
        kinds[group] = dataclasses.make_dataclass(group.capitalize(), fields, frozen=True)
    return kinds


def arguments_of(config: Config, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The groups filled with the values of a config, as defaults of the options."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(Config)}
    if not isinstance(values["network"], str):
        values["network"] = json.dumps(values["network"])
    for name in ARGUMENTS:
        values[name] = tuple(f"{key}={text_of(value)}" for key, value in values[name].items())
    return {
        group: kind(**{field.name: values[field.name] for field in dataclasses.fields(kind)})
        for group, kind in groups(without).items()
    }


def fields_of(parsed: Any) -> dict[str, Any]:
    """The config fields in parsed groups; inverse of `arguments_of`."""
    values: dict[str, Any] = {}
    for group in GROUPS:
        part = getattr(parsed, group)
        values |= {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    if values["network"].startswith("["):
        values["network"] = parse_json(values["network"], "--network")
    for name in ARGUMENTS:
        values[name] = dict(_pair(name, text) for text in values[name])
    return values


def _pair(option: str, text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.replace("/", "").isidentifier():
        raise RequestError(f"--{option.replace('_', '-')} {quote(text)}: write NAME=VALUE")
    return name, value_of(value)
