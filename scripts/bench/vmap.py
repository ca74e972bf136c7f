"""Do trials that are trained side by side under vmap, which rounds differently, end in other accuracies than alone?"""

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
    """Trains the seeds of one config on the embedded digits twice, --parallel vmap and --parallel one, and compares the
    final validation accuracies, paired by seed. A minute on two CPU cores.

    For example: cnn-jax bench vmap --out results/performance
    """

    seeds: int = 20
    """How many."""
    epochs: int = 10
    """Of each."""


def measure(asked: Vmap) -> dict[str, Any]:
    """What goes into the JSON file, beside what all benchmarks say."""
    accuracies: dict[str, list[float]] = {}
    grid = Grid(Config(epochs=asked.epochs), {"seed": tuple(range(asked.seeds))})
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            sweep = api.sweep(grid, Path(folder) / "sweep", parallel=way)
            assert sweep.table is not None
            of_seeds = sweep.table.accuracies(0)
            if None in of_seeds:
                raise RunError(f"with --parallel {way} a seed diverged: there is nothing to compare")
            accuracies[way] = [float(one) for one in of_seeds if one is not None]
    return {"epochs": asked.epochs, **accuracies, "paired": vars(paired_t(accuracies["vmap"], accuracies["one"]))}


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
