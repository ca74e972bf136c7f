"""cnn-jax sweep: trains a grid of networks."""

import dataclasses
import functools
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnn_jax import compilations
from cnn_jax.cli import common, options
from cnn_jax.errors import RequestError, RunError, quote
from cnn_jax.grids.grid import Grid, check_axis
from cnn_jax.grids.plan import Parallel
from cnn_jax.layers.spelling import value_of
from cnn_jax.training.config import DEFAULT_NETWORK, Config
from cnn_jax.typed import convert

DEFAULT_AXES = {"learning_rate": (0.01, 0.03, 0.1, 0.3, 1.0), "filters": (4, 8, 16)}


@dataclass(frozen=True, kw_only=True)
class Axes(common.Common):
    """The axes of the grid, and the folder of the sweep."""

    learning_rates: tuple[float, ...] = ()
    """Axis: learning rates."""
    filters: tuple[int, ...] = ()
    """Axis: filters of the first convolution; the others scale in proportion."""
    seeds: int = 5
    """Number of seeds, 0 … N-1, for every cell of the grid."""
    axis: tuple[str, ...] = ()
    """Further axes over any config field: NAME=V1,V2,…, e.g. optimizer=sgd,adam or optimizer_args.b1=0.9,0.95; may be
    repeated."""
    parallel: Parallel = "auto"
    """How trials run in parallel: one at a time, several workers (each trial runs as if alone), batched in one program
    by vmap or map, the whole grid of filter counts in one program (grid), or auto: the fastest in a short benchmark."""
    config: str | None = None
    """A config.json, or the folder of a run or sweep, to start from; other options override it."""
    out: str | None = None
    """The sweep's folder (default: runs/sweep-<UTC time>-<hash>)."""
    resume: bool = False
    """Continue the sweep in --out (or start it, if there is none) with its own config."""
    log: tuple[str, ...] = ()
    """Additional loggers: json, tensorboard, or a registered one; may be repeated."""


@functools.cache
def arguments_type() -> type:
    """Axes and the groups of config fields."""
    fields = [("grid", Axes), *options.groups(("filters",)).items()]
    kind = dataclasses.make_dataclass("Sweep", fields, frozen=True)
    kind.__doc__ = (
        "Trains a grid of networks and scores the test split for the seeds of the chosen cell.\n\n"
        "For example: cnn-jax sweep --learning-rates 0.01 0.1 --axis optimizer=sgd,adam --seeds 6"
    )
    return kind


def grid_of(parsed: Any, base_values: dict[str, Any]) -> Grid:
    """The grid of parsed arguments; the default grid if they give neither axes, nor a network, nor a stored config."""
    own, fields = parsed.grid, options.fields_of(parsed)
    axes: dict[str, tuple[Any, ...]] = {}
    if own.learning_rates:
        axes["learning_rate"] = own.learning_rates
    if own.filters:
        axes["filters"] = own.filters
    for text in own.axis:
        name, _, values = text.partition("=")
        if name in axes:
            raise RequestError(f"axis {name} is given twice")
        axes[name] = axis_values(name, values)
    if not axes and not base_values and fields["network"] == DEFAULT_NETWORK:
        axes = dict(DEFAULT_AXES)
        if fields["learning_rate"] != Config().learning_rate:
            axes["learning_rate"] = (fields["learning_rate"],)
    if own.seeds < 1:
        raise RequestError(f"seeds = {own.seeds} must be at least 1")
    axes.setdefault("seed", tuple(range(own.seeds)))
    return Grid(Config(**fields | {"filters": base_values.get("filters")}), axes)


def axis_values(name: str, text: str) -> tuple[Any, ...]:
    """Parses the comma-separated values of an axis as its field's type. Raises RequestError for other values."""
    check_axis(name)
    if not text and name != "augment":
        return ()
    hint = typing.get_type_hints(Config).get(name, Any)
    return tuple(_value(name, word, hint) for word in text.split(","))


def _value(name: str, word: str, hint: Any) -> Any:
    kinds = typing.get_args(hint) or (hint,)
    if str in kinds or typing.get_origin(hint) is typing.Literal:
        return convert(f"axis {name}", word, hint)
    if typing.get_origin(hint) is tuple:
        return convert(f"axis {name}", [value_of(part) for part in word.split()], hint)
    value = None if word == "none" and type(None) in kinds else value_of(word)
    if isinstance(value, str) and hint is not Any:
        raise RequestError(f"axis {name}: {quote(word)} is not a value of {name}; write NAME=V1,V2,…")
    return value if hint is Any else convert(f"axis {name}", value, hint)


def command(arguments: Sequence[str]) -> int:
    """Parses arguments, runs the sweep, prints the table; returns the exit code."""
    base_values = common.stored_config(arguments, best=False) or {}
    parsed = common.parse(arguments_type(), arguments, "cnn-jax sweep", default_of(base_values))
    grid, own = grid_of(parsed, base_values), parsed.grid
    out = own.out or common.default_out("sweep", grid.hash())

    compilations.enable()
    from cnn_jax import api
    from cnn_jax.report.loggers import loggers
    from cnn_jax.runs.outcome import NO_CELL

    sweep = api.sweep(
        grid, out, resume=own.resume, parallel=own.parallel, show=not own.quiet, callbacks=loggers(own.log)
    )
    if sweep.table is not None:
        print(sweep.path.joinpath("summary.md").read_text(encoding="utf-8"))
        if sweep.status == "diverged":
            raise RunError(f"{sweep.path} has no best cell: {NO_CELL}; try lower learning rates (cnn-jax range)")
    elif sweep.status == "interrupted":
        print("The sweep was interrupted; --resume continues it.")
    print(sweep.path)
    sys.stdout.flush()
    return common.exit_code(sweep.status, sweep.signal)


def default_of(base_values: dict[str, Any]) -> Any:
    """The default of the options: a stored sweep, a stored run's config, or the default config without axes."""
    if not isinstance(stored_axes := base_values.get("axes", {}), dict):
        raise RequestError(f"axes = {quote(stored_axes)}: a sweep's config has an object of lists")
    axes = {name: convert(f"axis {name}", values, list) for name, values in stored_axes.items()}
    base = Config.from_json({name: value for name, value in base_values.items() if name != "axes"})
    seeds = convert("axis seed", axes.pop("seed", list(range(5))), tuple[int, ...])
    rates = convert("axis learning_rate", axes.pop("learning_rate", []), tuple[float, ...])
    filters = convert("axis filters", axes.pop("filters", []), tuple[int, ...])
    more = [f"{name}={','.join(map(_text, values))}" for name, values in axes.items()]
    if seeds != tuple(range(len(seeds))):
        more.append(f"seed={','.join(map(str, seeds))}")
    own = Axes(learning_rates=rates, filters=filters, axis=tuple(more), seeds=len(seeds))
    return arguments_type()(grid=own, **options.arguments_of(base, ("filters",)))


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return " ".join(map(repr, value)) if isinstance(value, list) else value if isinstance(value, str) else repr(value)
