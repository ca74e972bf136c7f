"""How long does a whole grid take, from the command to its table, beside stock Flax and PyTorch?

The grid of results/grid-fashion: 4 numbers of filters, 5 learning rates, 3 seeds, 2 epochs of Fashion-MNIST. Ours is
experiments/sweep.py with everything it does: start, compilation, evaluation, checkpoints, table, figures, page. The
peers train and score the same trials one after another in one process, as their users would, with no checkpoint or
report. They take turns.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench import options, process, table, works
from bench.measure import summary
from cnn_jax.data import load
from cnn_jax.errors import RunError

ROOT = Path(__file__).resolve().parents[2]
FILTERS, RATES, SEEDS = (4, 8, 16, 32), (0.003, 0.01, 0.03, 0.1, 0.5), 3
PEERS = {"flax": "bench.flax_grid", "torch": "bench.torch_grid"}


@dataclass(frozen=True, kw_only=True)
class Sweep(options.Options):
    """Times a whole grid. Several networks step by step: cnn-jax bench step --mode trials.

    For example: cnn-jax bench sweep --data-dir DIR --torch PYTHON --out results/performance
    """

    rounds: int = 3
    """Turns of each contender."""
    dataset: str = "fashion_mnist"
    """What is trained on."""
    data_dir: str | None = None
    """Where its archives are."""
    epochs: int = 2
    """Of every trial."""
    filters: tuple[int, ...] = FILTERS
    """Of the first convolution; the second has twice as many."""
    seeds: Literal[1, 2, 3] = 3
    """That the peers train; the seconds of fewer count for all three, and the table says so."""

    @property
    def file(self) -> str:
        return "grid"


def arrays(dataset: str, data_dir: str | None, path: Path) -> None:
    """The data as the peers get it: normalised, in one file."""
    data = load(dataset, data_dir=data_dir)
    kept: dict[str, np.ndarray] = {}
    for split, prefix in ((data.train, ""), (data.validation, "validation_")):
        kept[f"{prefix}images"] = ((split.images.astype(np.float32) / 255) - data.mean) / data.std  # type: ignore[union-attr]
        kept[f"{prefix}labels"] = split.labels
    np.savez(path, **kept)  # type: ignore[arg-type]


def run(command: Sequence[str], framework: str) -> tuple[float, str]:
    """Seconds and standard output of a whole process."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=process.environment(framework), capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"{framework}: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")
    return time.perf_counter() - started, done.stdout


def ours(asked: Sweep, folder: Path, number: int) -> float:
    """Seconds of the sweep's command."""
    options = ["--network", works.GRID.text, "--dataset", asked.dataset, "--epochs", str(asked.epochs)]
    options += ["--filters", *map(str, asked.filters), "--learning-rates", *map(str, RATES), "--seeds", str(SEEDS)]
    options += ["--data-dir", asked.data_dir] if asked.data_dir else []
    options += ["--out", str(folder / f"sweep{number}")]
    return run([sys.executable, "experiments/sweep.py", *options], "cnn_jax")[0]


def peer(asked: Sweep, name: str, folder: Path) -> float:
    """Seconds of a peer for all seeds: what it takes beside the trials, and the trials, those of one seed times three
    where it trains only one."""
    trials = [(width, rate, seed) for width in asked.filters for rate in RATES for seed in range(asked.seeds)]
    job = folder / "job.json"
    job.write_text(json.dumps({"epochs": asked.epochs, "batch_size": 128, "trials": trials}))
    python = asked.torch if name == "torch" and asked.torch else sys.executable
    seconds, out = run([python, "-m", PEERS[name], str(folder / "data.npz"), str(job)], name)
    spent = sum(json.loads(out)["seconds"])
    return seconds - spent + spent * SEEDS / asked.seeds


def measure(asked: Sweep) -> dict[str, Any]:
    """What goes into the JSON file, beside what all benchmarks say."""
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        arrays(asked.dataset, asked.data_dir, folder / "data.npz")
        for number in range(asked.rounds):
            times.setdefault("ours", []).append(ours(asked, folder, number))
            for name in ("flax", "torch") if asked.torch else ("flax",):
                times.setdefault(name, []).append(peer(asked, name, folder))
    return {
        "mode": "grid",
        "dataset": asked.dataset,
        "epochs": asked.epochs,
        "filters": asked.filters,
        "learning_rates": RATES,
        "trials": len(asked.filters) * len(RATES) * SEEDS,
        "seeds": SEEDS,
        "seeds_of_peers": asked.seeds,
        "cores": os.cpu_count(),
        "contenders": {name: summary(seconds, "seconds") for name, seconds in times.items()},
    }


markdown = table.markdown
