"""Does training make the units of the first layer selective for orientation, as cells of the visual cortex are?

    scripts/run experiments/orientation.py --dataset FOLDER|ZIP|NAME [--data-dir DIR] --out OUT

Trains one small network with several seeds (an ordinary sweep of one cell in OUT/sweep), shows gratings to the first
convolution before and after training, and compares the mean selectivity of its units, paired by seed. Rule, stated
before: supported if the 95 % t interval of the difference lies above zero, not supported if it lies below, else
inconclusive; no verdict below 6 seeds. Hardware: CPU; eight seeds of five epochs on 32x32 colour images take about
five minutes on two cores. Writes OUT/verdict.json, OUT/orientation.csv (a row for each seed) and OUT/orientation.png.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from cnn_jax import lab
from cnn_jax.cli import common
from cnn_jax.insight import tuning
from cnn_jax.report import figures
from cnn_jax.runs import record
from cnn_jax.runs.trained import Trained
from cnn_jax.statistics import SEEDS_FOR_A_VERDICT, Paired, paired_t
from cnn_jax.sweep.grid import Grid
from cnn_jax.training.config import Config

NETWORK = "conv7-24:same relu max2 conv3-32:same relu max2 dense-64 relu dense-10"


def selectivities(trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    """The selectivity of each unit of the first convolution that answers to gratings, untrained and trained."""
    first = trained.history()[0][1]
    found = [tuning.tuning(trained.network, variables, ["conv1"])["conv1"] for variables in (first, trained.variables)]
    before, after = (one.selectivity[np.isfinite(one.selectivity)] for one in found)
    return before, after


def verdict(pair: Paired) -> str:
    if pair.n < SEEDS_FOR_A_VERDICT:
        return "no verdict"
    return "supported" if pair.low > 0 else "not supported" if pair.high < 0 else "inconclusive"


def plot(rows: pd.DataFrame, pair: Paired, path: Path) -> None:
    with plt.rc_context(figures.STYLE):
        figure, axes = plt.subplots(figsize=(3.6, 3.2), layout="constrained")
        for _, row in rows.iterrows():
            axes.plot((0, 1), (row["untrained"], row["trained"]), "o-", color=figures.COLOURS[0], ms=4, lw=1)
        axes.set_xticks((0, 1), ("untrained", "trained"))
        axes.set_xlim(-0.4, 1.4)
        axes.set_ylim(0, 1)
        axes.set_ylabel("mean orientation selectivity of conv1")
        axes.set_title(
            f"difference {pair.difference:+.3f} (95 % t interval {pair.low:+.3f} to {pair.high:+.3f}), "
            f"n = {pair.n} seeds", fontsize=7,
        )  # fmt: skip
        figures.save(figure, path)


def command(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--data-dir")
    parser.add_argument("--network", default=NETWORK, help="its first layer must be a convolution")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=0.03)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    parsed = parser.parse_args(arguments)
    base = Config(
        network=parsed.network, dataset=parsed.dataset, data_dir=parsed.data_dir, epochs=parsed.epochs,
        learning_rate=parsed.learning_rate,
    )  # fmt: skip
    sweep = lab.sweep(Grid(base, {"seed": tuple(range(parsed.seeds))}), parsed.out / "sweep", resume=True)
    if sweep.status != "complete":
        return common.exit_code(sweep.status, None)
    rows = []
    for folder in sorted((parsed.out / "sweep" / "trials").iterdir()):
        trained = Trained.load(folder)
        before, after = selectivities(trained)
        rows.append(
            {
                "seed": trained.config.seed, "untrained": before.mean(), "trained": after.mean(),
                "units_untrained": len(before), "units_trained": len(after),
            }
        )  # fmt: skip
    table = pd.DataFrame(rows).sort_values("seed")
    pair = paired_t(table["trained"].tolist(), table["untrained"].tolist())
    found: dict[str, Any] = {
        "claim": "training makes the first layer's units more selective for orientation",
        "statistic": "mean over units of |sum R exp(2i theta)| / sum R, trained minus untrained, paired by seed",
        "difference": pair.difference, "low": pair.low, "high": pair.high, "p": pair.p, "n": pair.n,
        "interval": "95 % t interval", "verdict": verdict(pair), "network": parsed.network,
        "device": record.device(), "versions": record.versions(), "git": record.git_state(),
        "finished": record.utc_now(),
    }  # fmt: skip
    table.to_csv(parsed.out / "orientation.csv", index=False, float_format="%.6f")
    (parsed.out / "verdict.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    plot(table, pair, parsed.out / "orientation.png")
    print(
        f"{found['verdict']}: selectivity {pair.difference:+.3f} (95 % t interval {pair.low:+.3f} to {pair.high:+.3f}, "
        f"n = {pair.n} seeds)"
    )
    return 0


if __name__ == "__main__":
    common.main(command)
