"""Do some units of a late layer answer to handwriting, or to pink things?

The guide: by the end of the network there may be filters that activate when there is handwriting in the image, or pink
objects.

    scripts/run experiments/guide/concepts.py --data-dir DIR    # two CPU cores; its verdict says how long

Shows colour images to a network that nobody told of either: half of them with a handwritten digit written on them, and
all as they are, of which those with the largest share of pink pixels count as pink. On one half of the images the unit
of the last convolution is chosen whose largest response ranks the images of the concept first, by average precision;
its average precision on the other half is what counts, in the mean over both concepts. The statistic is trained minus
untrained. Expected: positive for pink, which colour filters see at once; less for handwriting.
"""

import colorsys
from typing import Any

import matplotlib
import numpy as np
from classic import classic
from PIL import Image

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.data import Split, load
from cnn_jax.insight.concepts import average_precision
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study

QUESTION = Question(
    "concepts", "Does training make units of the last convolution answer to handwriting and to pink things?",
    datasets=("cifar10",), smallest_effect=0.02,
)  # fmt: skip
LAYER, IMAGES, PINK = "relu3", 1000, 0.1  # share of the images that count as pink
HUES, SATURATED, BRIGHT = (290 / 360, 350 / 360), 0.25, 0.4


def written_on(images: np.ndarray) -> np.ndarray:
    """uint8 images (n, h, w, 3), each with a handwritten digit in dark or bright ink at a random place."""
    train, random = load("digits").train, np.random.default_rng(0)
    assert isinstance(train, Split)
    digits = train.images
    found = images.copy()
    for image in found:
        size = int(random.integers(14, 22))
        digit = Image.fromarray(digits[random.integers(len(digits)), ..., 0]).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        ink = np.asarray(digit, np.float32)[..., None] / 255
        y, x = random.integers(0, np.subtract(image.shape[:2], size) + 1)
        place = image[y : y + size, x : x + size]
        place[:] = np.rint((1 - ink) * place + ink * (255 if place.mean() < 128 else 0))
    return found


def pinkness(images: np.ndarray) -> np.ndarray:
    """The share of pink pixels of each image, uint8 (n, h, w, 3)."""
    flat = images.reshape(-1, 3) / 255.0
    colours, places = np.unique(np.rint(flat * 31) / 31, axis=0, return_inverse=True)
    hsv = np.array([colorsys.rgb_to_hsv(*colour) for colour in colours])
    pink = (hsv[:, 0] > HUES[0]) & (hsv[:, 0] < HUES[1]) & (hsv[:, 1] > SATURATED) & (hsv[:, 2] > BRIGHT)
    return pink[places.ravel()].reshape(len(images), -1).mean(1)


def best_unit(responses: np.ndarray, positive: np.ndarray) -> tuple[int, float]:
    """The unit with the highest average precision on the even images, and its average precision on the others."""
    even = np.arange(len(positive)) % 2 == 0
    unit = int(average_precision(responses[even], positive[even]).argmax())
    return unit, float(average_precision(responses[~even], positive[~even])[unit])


def investigate(study: Study) -> Finding:
    outcome = classic(study)
    rows: list[dict[str, Any]] = []
    for seed, trained in study.learned(outcome).items():
        images = api.load_data(trained.config).validation.images[: 2 * IMAGES]
        if images.shape[-1] == 1:
            images = np.repeat(images, 3, -1)  # the quick form has grey digits
        plain, other = images[: len(images) // 2], images[len(images) // 2 :]
        shares = pinkness(plain)
        shown = {
            "handwriting": (np.concatenate([plain, written_on(other)]), np.arange(len(images)) >= len(plain)),
            "pink": (plain, shares >= np.quantile(shares, 1 - PINK)),
        }
        random = np.random.default_rng(1)
        for concept, (pictures, positive) in shown.items():
            mixed = random.permutation(len(pictures))  # so that both halves have both kinds
            for state, variables in (("untrained", trained.history()[0][1]), ("trained", trained.variables)):
                pixels = pictures[mixed][..., : trained.network.input_shape[-1]]
                maps = trained.network.activations(variables, trained.normalise(pixels))[LAYER]
                unit, found = best_unit(np.asarray(maps).max((1, 2)), positive[mixed])
                rows.append(
                    {"seed": seed, "concept": concept, "state": state, "unit": unit, "average_precision": found,
                     "chance": float(positive.mean())}
                )  # fmt: skip
    table = study.write("concepts", rows)
    draw(study, table)
    means = table.groupby(["concept", "state"])["average_precision"].mean().unstack().to_dict("index")
    both = table.groupby(["state", "seed"])["average_precision"].mean()
    more = means | {"chance": table.groupby("concept")["chance"].mean().to_dict(), "left out": study.left_out(outcome)}
    statistic = "average precision of the best unit, mean over two concepts, trained minus untrained"
    return study.paired(statistic, "", both["trained"].tolist(), both["untrained"].tolist(), more)


def draw(study: Study, table) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plots = figures.subplots(1, 2, figsize=(5.4, 2.8), layout="constrained", sharey=True)
        for plot, (concept, rows) in zip(plots, table.groupby("concept", sort=False), strict=True):
            for _, one in rows.groupby("seed"):
                plot.plot((0, 1), one["average_precision"], "o-", color=figures.COLOURS[0], ms=4, lw=1)
            plot.axhline(rows["chance"].mean(), color="0.5", lw=0.8, ls="--")
            plot.set_xticks((0, 1), ("0", "→"))
            plot.set_xlim(-0.4, 1.4)
            plot.set_title(concept, fontsize=9)
        plots[0].set_ylabel("average precision")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
