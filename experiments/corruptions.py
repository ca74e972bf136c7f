"""The error of networks of CIFAR-10 under the corruptions of CIFAR-10-C (hendrycks2019benchmarking).

    scripts/run experiments/corruptions.py RUN… --data-dir DIR

DIR has the archives of CIFAR-10 and CIFAR-10-C. The runs are seeds of one config: a row is the median over them, and
its range, of the mean error over five severities; `all` is the mean over the fifteen corruptions to report. Writes
corruptions.csv, an error per run, corruption and severity, into --out.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cnn_jax import api
from cnn_jax.cli import common
from cnn_jax.data.official import REPORTED, SEVERITIES
from cnn_jax.report import tables
from cnn_jax.waiting import waiting


def errors(runs: Sequence[Path], data_dir: str | None) -> pd.DataFrame:
    """The test error of each run, clean (severity 0) and under each corruption and severity."""
    rows = []
    for run in runs:
        for corruption, severity in [("none", 0), *((c, s) for c in REPORTED for s in range(1, SEVERITIES + 1))]:
            dataset = f"cifar10_c/{corruption}/{severity}" if severity else "cifar10"
            with waiting(f"{run}: {dataset}"):
                evaluation = api.evaluate(run, dataset=dataset, data_dir=data_dir).evaluation
            rows.append((str(run), corruption, severity, 1 - evaluation.accuracy))
    return pd.DataFrame(rows, columns=["run", "corruption", "severity", "error"])


def table(found: pd.DataFrame) -> pd.DataFrame:
    """The median over runs of the mean over severities, by corruption, with its range, in per cent."""
    means = found.pivot_table(index="run", columns="corruption", values="error", sort=False)
    means["all"] = means[list(REPORTED)].mean(axis=1)
    percent = 100 * means[["none", *REPORTED, "all"]]
    return pd.DataFrame(
        {
            "corruption": percent.columns,
            "error": [f"{percent[name].median():.2f} %" for name in percent],
            "range": [f"{percent[name].min():.2f} – {percent[name].max():.2f} %" for name in percent],
            "n": f"n = {len(percent)}",
        }
    )


def command(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, e.g. of the seeds of a sweep")
    parser.add_argument("--data-dir", help="folder of the archives; needed only until they are cached")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of corruptions.csv (default: here)")
    parsed = parser.parse_args(arguments)
    found = errors(parsed.runs, parsed.data_dir)
    parsed.out.mkdir(parents=True, exist_ok=True)
    found.to_csv(parsed.out / "corruptions.csv", index=False)
    print(tables.markdown(table(found)), end="")


if __name__ == "__main__":
    common.main(command)
