"""How long does a whole grid take, from the command to its table, beside stock Flax and PyTorch?

    scripts/run scripts/bench_sweep.py --data-dir DIR --out DIR [--torch PYTHON]

The grid of results/grid-fashion: 4 numbers of filters, 5 learning rates, 3 seeds, 2 epochs of Fashion-MNIST. Ours is
experiments/sweep.py with everything it does: start, compilation, evaluation, checkpoints, table, figures, page. The
peers train and score the same trials one after another in one process, as their users would, with no checkpoint or
report. They take turns, `--rounds` times. `--seeds 1` lets the peers train one seed of the three; the seconds of its
trials count three times then, and the file says so. Several networks step by step: bench_step.py --mode trials.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench import process, table, works
from bench.measure import summary

from cnn_jax.cli import common
from cnn_jax.data import load
from cnn_jax.errors import RunError
from cnn_jax.runs import provenance

ROOT = Path(__file__).resolve().parent.parent
FILTERS, RATES, SEEDS = (4, 8, 16, 32), (0.003, 0.01, 0.03, 0.1, 0.5), 3
PEERS = {"flax": "bench.flax_grid", "torch": "bench.torch_grid"}


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


def ours(parsed: argparse.Namespace, folder: Path, number: int) -> float:
    """Seconds of the sweep's command."""
    options = ["--network", works.GRID.text, "--dataset", parsed.dataset, "--epochs", str(parsed.epochs)]
    options += ["--filters", *map(str, parsed.filters), "--learning-rates", *map(str, RATES), "--seeds", str(SEEDS)]
    options += ["--data-dir", parsed.data_dir] if parsed.data_dir else []
    options += ["--out", str(folder / f"sweep{number}")]
    return run([sys.executable, "experiments/sweep.py", *options], "cnn_jax")[0]


def peer(parsed: argparse.Namespace, name: str, folder: Path) -> float:
    """Seconds of a peer for all seeds: what it takes beside the trials, and the trials, those of one seed times three
    where it trains only one."""
    trials = [(width, rate, seed) for width in parsed.filters for rate in RATES for seed in range(parsed.seeds)]
    job = folder / "job.json"
    job.write_text(json.dumps({"epochs": parsed.epochs, "batch_size": 128, "trials": trials}))
    python = parsed.torch if name == "torch" else sys.executable
    seconds, out = run([python, "-m", PEERS[name], str(folder / "data.npz"), str(job)], name)
    spent = sum(json.loads(out)["seconds"])
    return seconds - spent + spent * SEEDS / parsed.seeds


def command(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--data-dir")
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--filters", type=int, nargs="+", default=list(FILTERS))
    parser.add_argument("--seeds", type=int, choices=range(1, SEEDS + 1), default=SEEDS, help="that the peers train")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, metavar="DIR")
    parsed = parser.parse_args(arguments)
    if parsed.torch:
        process.check_torch(parsed.torch)
    process.prepare()
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        arrays(parsed.dataset, parsed.data_dir, folder / "data.npz")
        for number in range(parsed.rounds):
            times.setdefault("ours", []).append(ours(parsed, folder, number))
            for name in ("flax", "torch") if parsed.torch else ("flax",):
                times.setdefault(name, []).append(peer(parsed, name, folder))
    measured = {
        "mode": "grid",
        "dataset": parsed.dataset,
        "epochs": parsed.epochs,
        "filters": parsed.filters,
        "learning_rates": RATES,
        "trials": len(parsed.filters) * len(RATES) * SEEDS,
        "seeds": SEEDS,
        "seeds_of_peers": parsed.seeds,
        "started": provenance.utc_now(),
        "cores": os.cpu_count(),
        "versions": provenance.versions(),
        "device": provenance.device(),
        "contenders": {name: summary(seconds, "seconds") for name, seconds in times.items()},
    }
    text = table.markdown(measured)
    print(text)
    if parsed.out:
        parsed.out.mkdir(parents=True, exist_ok=True)
        (parsed.out / "grid.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        (parsed.out / "grid.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    common.main(command)
