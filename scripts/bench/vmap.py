"""Do trials batched with vmap, which rounds differently, reach other accuracies than trials trained alone?"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import options
from cnn_jax import api
from cnn_jax.errors import RunError
from cnn_jax.grids.grid import Grid
from cnn_jax.grids.plan import Parallel
from cnn_jax.statistics import paired_t
from cnn_jax.training.config import Config

WAYS: tuple[Parallel, ...] = ("vmap", "one")


@dataclass(frozen=True, kw_only=True)
class Vmap(options.Options):
    """Trains the seeds of one config on the embedded digits twice, with --parallel vmap and --parallel one, and
    compares the final validation accuracies, paired by seed. About a minute on two CPU cores.

    For example: cnn-jax bench vmap --out results/performance
    """

    seeds: int = 20
    """Number of seeds."""
    epochs: int = 10
    """Epochs of each trial."""


def measure(args: Vmap) -> dict[str, Any]:
    """The content of the JSON file that is specific to this benchmark."""
    accuracies: dict[str, list[float]] = {}
    grid = Grid(Config(epochs=args.epochs, learning_rate=0.05), {"seed": tuple(range(args.seeds))})
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            sweep = api.sweep(grid, Path(folder) / "sweep", parallel=way)
            assert sweep.table is not None
            by_seed = sweep.table.accuracies(0)
            if None in by_seed:
                raise RunError(f"with --parallel {way} a seed diverged: there is nothing to compare")
            accuracies[way] = [float(accuracy) for accuracy in by_seed if accuracy is not None]
    return {"epochs": args.epochs, **accuracies, "paired": vars(paired_t(accuracies["vmap"], accuracies["one"]))}


def markdown(measured: dict[str, Any]) -> str:
    vmap, alone, pair = np.array(measured["vmap"]), np.array(measured["one"]), measured["paired"]
    points, low, high = (100 * pair[name] for name in ("difference", "low", "high"))
    return (
        f"**vmap**: validation accuracy of {len(vmap)} seeds trained side by side under vmap minus the same seeds "
        f"alone, digits, {measured['epochs']} epochs: {points:+.3f} points (95 % t interval {low:+.3f} to {high:+.3f}, "
        f"paired, n = {pair['n']}); {(vmap == alone).sum()} of {pair['n']} agree to the last image, the largest "
        f"difference is {100 * np.abs(vmap - alone).max():.2f} points; {measured['device']['cpu']}; "
        f"{measured['started'][:10]}.\n\n`{measured['command']}`\n"
    )
