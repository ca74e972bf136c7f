"""Do trials that are trained together under vmap, which rounds differently, end in other accuracies than alone?

    scripts/run scripts/bench_vmap.py --out DIR

The same sweep of one cell on the embedded digits twice, `--parallel vmap` and `--parallel one`: the differences of
the final validation accuracies, paired by seed. Hardware: any; a minute on two CPU cores. Writes DIR/vmap.json and
DIR/vmap.md.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnn_jax import api
from cnn_jax.cli import common
from cnn_jax.errors import RunError
from cnn_jax.grids.grid import Grid
from cnn_jax.runs import provenance
from cnn_jax.statistics import paired_t
from cnn_jax.training.config import Config


def command(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, metavar="DIR")
    parsed = parser.parse_args(arguments)
    config = Config(epochs=parsed.epochs)
    found = {}
    for way in ("vmap", "one"):
        with tempfile.TemporaryDirectory() as folder:
            grid = Grid(config, {"seed": tuple(range(parsed.seeds))})
            sweep = api.sweep(grid, Path(folder) / "sweep", parallel=way)
            assert sweep.table is not None
            accuracies = sweep.table.accuracies(0)
            if None in accuracies:
                raise RunError(f"with --parallel {way} a seed diverged: there is nothing to compare")
            found[way] = np.array(accuracies, float)
    pair = paired_t(found["vmap"].tolist(), found["one"].tolist())
    same = int((found["vmap"] == found["one"]).sum())
    points, apart = 100 * pair.difference, 100 * float(np.abs(found["vmap"] - found["one"]).max())
    text = (
        f"**vmap**: validation accuracy of {parsed.seeds} seeds trained together under vmap minus the same seeds "
        f"alone, digits, {parsed.epochs} epochs: {points:+.3f} points (95 % t interval {100 * pair.low:+.3f} to "
        f"{100 * pair.high:+.3f}, paired, n = {pair.n}); {same} of {pair.n} agree to the last image, the largest "
        f"difference is {apart:.2f} points; {provenance.device()['cpu']}; {provenance.utc_now()[:10]}.\n\n"
        "`scripts/run scripts/bench_vmap.py --out DIR`\n"
    )
    print(text, end="")
    if parsed.out:
        parsed.out.mkdir(parents=True, exist_ok=True)
        kept = {
            "started": provenance.utc_now(), "versions": provenance.versions(), "device": provenance.device(),
            **{way: values.tolist() for way, values in found.items()}, "paired": vars(pair),
        }  # fmt: skip
        (parsed.out / "vmap.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        (parsed.out / "vmap.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    common.main(command)
