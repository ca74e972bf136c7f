"""cnn-jax evaluate: evaluates a trained network on any split or another data set."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from cnn_jax import compilations
from cnn_jax.cli import common
from cnn_jax.waiting import waiting


@dataclass(frozen=True, kw_only=True)
class Evaluate(common.Common):
    """Evaluates a trained network and saves the result with its record in RUN/evaluations.

    For example: cnn-jax evaluate RUN --split test --dataset other_photos/
    """

    run: Positional[Path]
    """A run's folder, or a sweep's (its best run is used)."""
    split: Literal["train", "validation", "test"] = "test"
    """Split of the run's own data, or of --dataset."""
    dataset: str | None = None
    """Another data set with the same classes: a name, a folder of images, a zip of one or a .npz file."""
    data_dir: str | None = None
    """Folder of the data (default: as in the run)."""
    json: bool = False
    """Print JSON."""


def command(arguments: Sequence[str]) -> None:
    parsed = common.parse(Evaluate, arguments, "cnn-jax evaluate")

    compilations.enable()
    from cnn_jax import api
    from cnn_jax.metrics import METRICS

    with waiting(f"scoring {parsed.run}", show=not parsed.quiet):
        scored = api.evaluate(parsed.run, split=parsed.split, dataset=parsed.dataset, data_dir=parsed.data_dir)
    if parsed.json:
        print(json.dumps(scored.to_json(), indent=2))
        return
    print(f"{scored.dataset}, {scored.split}: {scored.evaluation.examples:,} images")
    for name, value in scored.evaluation.means.items():
        print(f"  {name:<16} {METRICS[name].text(value)}")
    print(scored.path)
