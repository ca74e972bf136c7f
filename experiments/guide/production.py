"""Is a network that was trained on images from many places better where it is used?

The guide: companies that have the images of all their users have an advantage; the more training data, the better tuned
is the network when it goes to production.

    scripts/run experiments/guide/production.py --data-dir DIR    # two CPU cores; its verdict says how long

More data are usually more kinds of data too. Here the number is the same and the kinds differ: 4,000 images from one
camera, or as many from three (as they are, dark, turned and blurred), and a fourth camera (bright, noisy and shifted)
in production, which neither has seen. The statistic is the test accuracy there, three cameras minus one, each at the
best of four rates by validation images of its own cameras. Expected: three are better by many points.
"""

from typing import Any

import numpy as np
from scipy import ndimage

from cnn_jax.cli.study import main
from cnn_jax.data import Dataset, Split, load
from cnn_jax.data.load import remember
from cnn_jax.report import figures
from cnn_jax.statistics import median
from cnn_jax.study import SMALL, Finding, Question, Study, percentages

QUESTION = Question(
    "production", "Do training images from more cameras help on those of a camera that the network has not seen?",
    smallest_effect=1.0,
)  # fmt: skip
RATES = (0.003, 0.01, 0.03, 0.1)
TRAIN, HELD_OUT = 4000, 1000


def taken(images: np.ndarray, camera: int) -> np.ndarray:
    """uint8 images (n, h, w, c) as a camera takes them: 0 as they are, 1 dark, 2 turned and blurred, 3 bright,
    noisy and shifted."""
    random = np.random.default_rng(camera)
    values = images.astype(np.float32)
    if camera == 1:
        values = 0.5 * values
    elif camera == 2:
        angles = random.uniform(-15, 15, len(values))
        turned = [ndimage.rotate(x, a, (1, 0), reshape=False, order=1) for x, a in zip(values, angles, strict=True)]
        values = ndimage.gaussian_filter(np.stack(turned), (0, 0.8, 0.8, 0))
    elif camera == 3:
        shifts = random.integers(-2, 3, (len(values), 2))
        values = np.stack([ndimage.shift(x, (*s, 0), order=0) for x, s in zip(values, shifts, strict=True)])
        values = 80 + 0.7 * values + random.normal(0, 20, values.shape).astype(np.float32)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def collection(name: str, train: Split, test: Split, cameras: int, sizes: tuple[int, int]) -> Dataset:
    """A data set of images from the first cameras in turn, to be used with the fourth; `sizes` are the numbers of
    images for training and validation."""

    def pictures(split: Split, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        images, labels = split.images[first : first + count], split.labels[first : first + count]
        of = np.arange(len(images)) % cameras
        return np.concatenate([taken(images[of == c], c) for c in range(cameras)]), np.concatenate(
            [labels[of == c] for c in range(cameras)]
        )

    return Dataset.from_arrays(
        *pictures(train, 0, sizes[0]), validation=pictures(train, *sizes), name=name,
        test=(taken(test.images, 3), test.labels),
    )  # fmt: skip


def investigate(study: Study) -> Finding:
    accuracy: dict[str, dict[int, float | None]] = {}
    chosen: dict[str, dict[str, float]] = {}
    chance: dict[str, int] = {}
    source = load(str(study.config().dataset), data_dir=study.data_dir)
    assert isinstance(source.train, Split)
    sizes = (200, 60) if study.quick else (TRAIN, HELD_OUT)
    for name, cameras in (("three cameras", 3), ("one camera", 1)):
        given = remember(collection(f"{source.name}, {name}", source.train, source.test, cameras, sizes))
        fields: dict[str, Any] = {
            **SMALL,
            "train_examples": None,
            "validation": None,
            "dataset": given,
            "split_seed": 0,
        }
        if study.quick:
            fields |= {"train_examples": 256, "validation": 256}
        outcome = study.sweep(name.replace(" ", "-"), {"learning_rate": RATES}, **fields)
        accuracy[name], chance[name] = percentages(outcome), outcome.at_chance
        chosen[name] = {"learning_rate": outcome.config.learning_rate}
    study.write(
        "seeds", [{"collection": n, "seed": s, "test_accuracy": x} for n, by in accuracy.items() for s, x in by.items()]
    )
    study.draw("figure", figures.by_variant(accuracy, "%"), f"n = {len(study.seeds)}")
    more = {"chosen": chosen, "median": {name: median(list(by.values())) for name, by in accuracy.items()}}
    a, b = ([by_seed[seed] for seed in study.seeds] for by_seed in accuracy.values())
    statistic = "test accuracy with a camera that was not seen, three cameras minus one"
    return study.paired(statistic, "points", a, b, more, at_chance=(chance["three cameras"], chance["one camera"]))


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
