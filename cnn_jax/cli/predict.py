"""cnn-jax predict: prints the class probabilities of image files."""

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from cnn_jax import compilations
from cnn_jax.cli import common
from cnn_jax.waiting import waiting


@dataclass(frozen=True, kw_only=True)
class Predict(common.Common):
    """Prints the class probabilities of image files; reports unreadable files and continues.

    For example: cnn-jax predict RUN photos/ --top 3
    """

    run: Positional[Path]
    """A run's folder, or a sweep's (its best run is used)."""
    images: Positional[tuple[Path, ...]]
    """JPEG or PNG files, or folders of them."""
    json: bool = False
    """Print JSON."""
    top: int = 5
    """Number of classes to print per image."""


def command(arguments: Sequence[str]) -> int:
    parsed = common.parse(Predict, arguments, "cnn-jax predict")

    compilations.enable()
    from cnn_jax import api

    rows = []
    failures = 0
    predictions = api.predict(parsed.run, parsed.images)
    with waiting("predicting", show=not parsed.quiet):  # until the first batch, which compiles
        first = [next(predictions)]
    for prediction in itertools.chain(first, predictions):
        if prediction.error is not None:
            failures += 1
            print(f"error: {prediction.error}", file=sys.stderr)
            continue
        rows.append(prediction.to_json())
        if not parsed.json:
            print(prediction.image)
            for name, probability in prediction.ranked()[: max(parsed.top, 1)]:
                print(f"  {probability:7.4f}  {name}")
    if parsed.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    return 1 if failures else 0
