"""How long does a whole grid take, from the command to its table, compared with stock Flax and PyTorch?

The grid of results/grid-fashion: 4 numbers of filters, 5 learning rates, 3 seeds, 2 epochs of Fashion-MNIST. Ours is
experiments/sweep.py with everything it does: start, compilation, evaluation, checkpoints, table, figures, page. The
peers train and score the same trials one after another in one process, as their users would, without checkpoints or a
report. The contenders take turns.
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
    """Times a whole grid. To time single steps of several networks: cnn-jax bench step --mode trials.

    For example: cnn-jax bench sweep --data-dir DIR --torch PYTHON --out results/performance
    """

    rounds: int = 3
    """Turns of each contender."""
    dataset: str = "fashion_mnist"
    """Data set to train on."""
    data_dir: str | None = None
    """Folder of its archives."""
    epochs: int = 2
    """Epochs of every trial."""
    filters: tuple[int, ...] = FILTERS
    """Filters of the first convolution; the second has twice as many."""
    seeds: Literal[1, 2, 3] = 3
    """Seeds that the peers train; with fewer than three, their seconds are extrapolated, and the table says so."""

    @property
    def file(self) -> str:
        return "grid"


def arrays(dataset: str, data_dir: str | None, path: Path) -> None:
    """Writes the data for the peers: normalised, in one file."""
    data = load(dataset, data_dir=data_dir)
    by_name: dict[str, np.ndarray] = {}
    for split, prefix in ((data.train, ""), (data.validation, "validation_")):
        by_name[f"{prefix}images"] = ((split.images.astype(np.float32) / 255) - data.mean) / data.std  # type: ignore[union-attr]
        by_name[f"{prefix}labels"] = split.labels
    np.savez(path, **by_name)  # type: ignore[arg-type]


def run(command: Sequence[str], framework: str) -> tuple[float, str]:
    """Runs a process; returns its seconds and its standard output."""
    started = time.perf_counter()
    result = subprocess.run(command, cwd=ROOT, env=process.environment(framework), capture_output=True, text=True)
    if result.returncode:
        raise RunError(f"{framework}: {(result.stderr.strip().splitlines() or ['it failed'])[-1]}")
    return time.perf_counter() - started, result.stdout


def ours(args: Sweep, folder: Path, number: int) -> float:
    """Seconds of our sweep command."""
    options = ["--network", works.GRID.text, "--dataset", args.dataset, "--epochs", str(args.epochs)]
    options += ["--filters", *map(str, args.filters), "--learning-rates", *map(str, RATES), "--seeds", str(SEEDS)]
    options += ["--data-dir", args.data_dir] if args.data_dir else []
    options += ["--out", str(folder / f"sweep{number}")]
    return run([sys.executable, "experiments/sweep.py", *options], "cnn_jax")[0]


def peer(args: Sweep, name: str, folder: Path) -> float:
    """Seconds of a peer for all seeds: the time outside the trials, plus the time of the trials scaled from the trained
    seeds to all seeds."""
    trials = [(width, rate, seed) for width in args.filters for rate in RATES for seed in range(args.seeds)]
    job = folder / "job.json"
    job.write_text(json.dumps({"epochs": args.epochs, "batch_size": 128, "trials": trials}))
    python = args.torch if name == "torch" and args.torch else sys.executable
    seconds, out = run([python, "-m", PEERS[name], str(folder / "data.npz"), str(job)], name)
    spent = sum(json.loads(out)["seconds"])
    return seconds - spent + spent * SEEDS / args.seeds


def measure(args: Sweep) -> dict[str, Any]:
    """The content of the JSON file that is specific to this benchmark."""
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        arrays(args.dataset, args.data_dir, folder / "data.npz")
        for number in range(args.rounds):
            times.setdefault("ours", []).append(ours(args, folder, number))
            for name in ("flax", "torch") if args.torch else ("flax",):
                times.setdefault(name, []).append(peer(args, name, folder))
    return {
        "mode": "grid",
        "dataset": args.dataset,
        "epochs": args.epochs,
        "filters": args.filters,
        "learning_rates": RATES,
        "trials": len(args.filters) * len(RATES) * SEEDS,
        "seeds": SEEDS,
        "seeds_of_peers": args.seeds,
        "cores": os.cpu_count(),
        "contenders": {name: summary(seconds, "seconds") for name, seconds in times.items()},
    }


markdown = table.markdown
