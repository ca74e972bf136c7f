"""experiments/sweep.py: a grid of networks, trained."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnn_jax.cli import common
from cnn_jax.cli.train import defaults_of, fields_of
from cnn_jax.errors import RequestError, RunError, quote
from cnn_jax.sweep.grid import Grid
from cnn_jax.sweep.plan import Parallel
from cnn_jax.training.config import DEFAULT_NETWORK, Config
from cnn_jax.typed import convert

DEFAULT_AXES = {"learning_rate": (0.01, 0.03, 0.1, 0.3, 1.0), "filters": (4, 8, 16)}


@dataclass(frozen=True)
class SweepArguments(Config):
    """The fields of a config, the axes of the grid, and where the sweep goes."""

    network: str = DEFAULT_NETWORK
    """A network in the notation, the name of one in the zoo, or its JSON form."""
    filters: tuple[int, ...] = ()  # type: ignore[assignment]
    """Axis: filters of the first convolution; the others keep their proportion to it."""
    learning_rates: tuple[float, ...] = ()
    """Axis: learning rates."""
    seeds: int = 5
    """Number of seeds, 0 … N-1, for every cell of the grid."""
    axis: tuple[str, ...] = ()
    """More axes: NAME=V1,V2,… with any numeric field of the config."""
    parallel: Parallel = "auto"
    """How trials run side by side: one after another, by several workers (each trial as alone), together in one
    program under vmap or map, or auto: what a short measurement finds fastest."""
    config: str | None = None
    """A config.json (of a run or a sweep) to start from; options given beside it change it."""
    out: str | None = None
    """The sweep's folder (default: runs/sweep-<UTC time>-<hash>)."""
    resume: bool = False
    """Go on with the sweep in --out; without other options its own config is used."""

    def __post_init__(self):
        """Nothing is checked here: the configs that the grid makes of this are."""


def grid_of(arguments: SweepArguments, stored: dict[str, Any]) -> Grid:
    """The grid that parsed arguments describe; the default grid where they name neither an axis nor a stored config."""
    axes: dict[str, tuple[Any, ...]] = {}
    if arguments.learning_rates:
        axes["learning_rate"] = arguments.learning_rates
    if arguments.filters:
        axes["filters"] = arguments.filters
    for text in arguments.axis:
        name, _, values = text.partition("=")
        if name in axes:
            raise RequestError(f"axis {name} is given twice")
        axes[name] = tuple(_number(text, value) for value in values.split(",")) if values else ()
    if not axes and not stored and arguments.network == DEFAULT_NETWORK:
        axes = dict(DEFAULT_AXES)
        if arguments.learning_rate != Config().learning_rate:
            axes["learning_rate"] = (arguments.learning_rate,)
    if arguments.seeds < 1:
        raise RequestError(f"seeds = {arguments.seeds} must be at least 1")
    axes.setdefault("seed", tuple(range(arguments.seeds)))
    base = Config(**fields_of(arguments) | {"filters": stored.get("filters")})
    return Grid(base, axes)


def _number(text: str, value: str) -> int | float:
    try:
        return int(value)
    except ValueError:
        try:
            return float(value)
        except ValueError:
            raise RequestError(f"axis {quote(text)}: {quote(value)} is no number; write NAME=V1,V2,…") from None


def gather(arguments: Sequence[str], option: str) -> list[str]:
    """`arguments` with the values of an option that is given several times behind one, where the parser, for which the
    last one counts, would lose the others."""
    rest: list[str] = []
    values: list[str] = []
    into = rest
    for argument in arguments:
        if argument.startswith("--"):
            into = values if argument.split("=")[0] == option else rest
            if into is values:
                values += [argument.removeprefix(f"{option}=")] * ("=" in argument)
                continue
        into.append(argument)
    return [*rest, option, *values] if values else list(arguments)


def command(arguments: Sequence[str]) -> int:
    """Parses, sweeps, says what came out; returns the exit code."""
    stored = common.stored_config(arguments) or {}
    parsed = common.parse(SweepArguments, gather(arguments, "--axis"), _default(stored), "Trains a grid.")
    grid = grid_of(parsed, stored)
    out = parsed.out or common.default_out("sweep", grid.hash())

    from cnn_jax import lab
    from cnn_jax.runs.outcome import NO_CELL

    done = lab.sweep(grid, out, resume=parsed.resume, parallel=parsed.parallel)
    if done.table is not None:
        print(done.path.joinpath("summary.md").read_text(encoding="utf-8"))
        if done.status == "diverged":
            raise RunError(f"{done.path} has no best cell: {NO_CELL}; try lower learning rates")
    elif done.status == "interrupted":
        print("The sweep was interrupted; --resume goes on with it.")
    print(done.path)
    sys.stdout.flush()
    return common.exit_code(done.status, done.signal)


def _default(stored: dict[str, Any]) -> SweepArguments:
    """What options change: a stored sweep, a stored run's config, or the default config without axes."""
    if not isinstance(given := stored.get("axes", {}), dict):
        raise RequestError(f"axes = {quote(given)}: a sweep's config has an object of lists")
    axes = {name: convert(f"axis {name}", values, tuple[int | float, ...]) for name, values in given.items()}
    base = Config.from_json({name: value for name, value in stored.items() if name != "axes"})
    seeds = axes.pop("seed", tuple(range(5)))
    more = [
        f"{name}={','.join(map(repr, axes.pop(name)))}" for name in [*axes] if name not in ("learning_rate", "filters")
    ]
    if seeds != tuple(range(len(seeds))):
        more.append(f"seed={','.join(map(str, seeds))}")
    return SweepArguments(
        **defaults_of(base) | {"filters": axes.get("filters", ())},
        learning_rates=axes.get("learning_rate", ()), axis=tuple(more), seeds=len(seeds),
    )  # fmt: skip
