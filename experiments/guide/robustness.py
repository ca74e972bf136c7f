"""Do pooling and nonlinearities make a network robust?

The guide: the layers between the convolutions improve the robustness of the network.

    scripts/run experiments/guide/robustness.py --data-dir DIR    # two CPU cores, some seconds

The networks of pooling.py, shown validation images that are shifted, turned, noisy or of low contrast. The statistic is
how many points of accuracy that costs in the mean, without pools minus with max pools. Expected: pooling helps against
shifts, n = 8 seeds; against noise it need not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pooling
from scipy import ndimage

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study

QUESTION = Question("robustness", "Do distorted images cost a network without pooling more accuracy?")


def distorted(images: np.ndarray) -> dict[str, np.ndarray]:
    """uint8 images (n, h, w, c) as they are and as they are distorted; the same distortions for every network."""
    random = np.random.default_rng(0)
    values = images.astype(np.float32)
    shifts = random.integers(-2, 3, (len(images), 2))
    angles = random.uniform(-20, 20, len(images))
    found = {
        "0": values,
        "shift": np.stack([ndimage.shift(x, (*s, 0), order=0) for x, s in zip(values, shifts, strict=True)]),
        "turn": np.stack(
            [ndimage.rotate(x, a, (1, 0), reshape=False, order=1) for x, a in zip(values, angles, strict=True)]
        ),
        "noise": values + random.normal(0, 40, values.shape),
        "contrast": 0.4 * values + 0.6 * values.mean((1, 2), keepdims=True),
    }
    return {name: np.clip(np.rint(x), 0, 255).astype(np.uint8) for name, x in found.items()}


def investigate(study: Study) -> Finding:
    networks = pooling.COMPARISON.train(study.beside("pooling"))
    split = api.load_data(networks["max"].config).validation
    images, labels = distorted(split.images[:1000]), split.labels[:1000]
    rows: list[dict[str, Any]] = []
    for name, outcome in networks.items():
        for seed, trained in study.finished(outcome).items():
            accuracy = {kind: 100 * trained.accuracy(x, labels) for kind, x in images.items()}
            rows.append({"variant": name, "seed": seed, **accuracy})
    study.write("accuracy", rows)
    kinds = [kind for kind in images if kind != "0"]
    lost = {(row["variant"], row["seed"]): {kind: row["0"] - row[kind] for kind in kinds} for row in rows}

    def by_seed(variant: str, kinds: Sequence[str]) -> list[float | None]:
        """Points lost in the mean over `kinds`, None for a network that diverged."""
        every = [lost.get((variant, seed)) for seed in study.seeds]
        return [None if one is None else sum(one[kind] for kind in kinds) / len(kinds) for one in every]

    values = {name: dict(zip(study.seeds, by_seed(name, kinds), strict=True)) for name in networks}
    study.draw("figure", figures.by_variant(values, "Δ%", f"n = {len(study.seeds)}"))
    more: dict[str, Any] = {"at chance": {name: outcome.at_chance for name, outcome in networks.items()}}
    for kind in kinds:
        found = Finding.paired("", "points", by_seed("none", [kind]), by_seed("max", [kind]))
        more[f"lost by {kind}, none minus max"] = [found.effect, found.low, found.high]
    statistic = "accuracy lost by distortions, without pools minus with max pools"
    chance = (networks["none"].at_chance, networks["max"].at_chance)
    return Finding.paired(statistic, "points", by_seed("none", kinds), by_seed("max", kinds), more, at_chance=chance)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
