"""Do pooling and nonlinearities make a network robust?

The guide: the layers between the convolutions improve the robustness of the network.

    scripts/run experiments/guide/robustness.py --data-dir DIR    # two CPU cores; its verdict says how long

Networks of equal parameters with and without max pools, and one with average pools and without ReLUs, shown validation
images that are shifted, turned, noisy or of low contrast. The statistic is how many points of accuracy a shift by up to
two pixels costs, without pools minus with max pools; the other distortions, whose strengths are arbitrary, and the
network without nonlinearity stand beside. Expected: pooling helps against shifts; against noise it need not.
"""

from typing import Any

import numpy as np
from scipy import ndimage

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.report import figures
from cnn_jax.study import Comparison, Finding, Question, Study

COMPARISON = Comparison(
    Question("robustness", "Do shifted images cost a network without pooling more accuracy?", smallest_effect=1.0),
    variants={
        "max": {"network": "conv3-16:same relu max2 conv3-32:same relu max2 conv3-32:same relu gap dense-10"},
        "none": {"network": "conv3-16:same relu conv3-32:same relu conv3-32:same relu gap dense-10"},
        "no relu": {"network": "conv3-16:same avg2 conv3-32:same avg2 conv3-32:same gap dense-10"},
    },
    better="none",
    worse="max",
)
QUESTION = COMPARISON.question


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
    return lost_by_shifts(study, COMPARISON, "without pools minus with max pools")


def lost_by_shifts(study: Study, comparison: Comparison, difference: str) -> Finding:
    """The finding on how many points a shift costs the first of the compared variants more than the second; the other
    distortions and variants stand beside."""
    outcomes, _ = comparison.train(study)
    rows: list[dict[str, Any]] = []
    for name, outcome in outcomes.items():
        for seed, trained in study.finished(outcome).items():
            split = api.load_data(trained.config).validation
            images, labels = distorted(split.images[:1000]), split.labels[:1000]
            accuracy = {kind: 100 * trained.accuracy(x, labels) for kind, x in images.items()}
            rows.append({"variant": name, "seed": seed, **accuracy})
    table = study.write("accuracy", rows)
    kinds = [kind for kind in table.columns if kind not in ("variant", "seed", "0")]
    lost = {(row["variant"], row["seed"]): {kind: row["0"] - row[kind] for kind in kinds} for row in rows}

    def by_seed(variant: str, kind: str) -> list[float | None]:
        """Points lost, None for a network that diverged."""
        return [lost[variant, seed][kind] if (variant, seed) in lost else None for seed in study.seeds]

    values = {name: dict(zip(study.seeds, by_seed(name, "shift"), strict=True)) for name in outcomes}
    study.draw("figure", figures.by_variant(values, "Δ%"), f"n = {len(study.seeds)}")
    more: dict[str, Any] = {"chosen": comparison.chosen(outcomes)}
    more["at chance"] = {name: outcome.at_chance for name, outcome in outcomes.items()}
    better, worse = comparison.better, comparison.worse
    for kind in kinds:
        for name in outcomes:
            if name != worse:
                found = Finding.paired("", "points", by_seed(name, kind), by_seed(worse, kind))
                more[f"lost by {kind}, {name} minus {worse}"] = [found.effect, found.low, found.high]
    statistic = f"accuracy lost by shifts, {difference}"
    chance = (outcomes[better].at_chance, outcomes[worse].at_chance)
    return study.paired(statistic, "points", by_seed(better, "shift"), by_seed(worse, "shift"), more, at_chance=chance)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
