"""How far does a trained network carry over to another image environment?

The guide: to generalise from what is known and to adapt to different image environments is a skill that machines do not
share with us.

    scripts/run experiments/guide/transfer.py --data-dir DIR    # two CPU cores; its verdict says how long

Trains on MNIST and looks at the digits of scikit-learn, which other people wrote and another machine scanned, made as
large and centred alike. These have 8 x 8 pixels; so that coarseness is no part of the answer, MNIST's validation images
are made as coarse. Rule: as for a paired difference with one point as the smallest effect. Expected: it falls by many
points. People are not asked, so that this says nothing of a skill that they have and machines do not.
"""

import numpy as np
from classic import classic
from PIL import Image

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.data import load
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study

QUESTION = Question(
    "transfer",
    "Does a network trained on MNIST lose accuracy on other digits?",
    datasets=("mnist",),
    smallest_effect=1.0,
)
PIXELS, HEIGHT = 8, 20  # of a digit of scikit-learn; of one of MNIST in its image (lecun1998gradient, III.A)


def enlarged(images: np.ndarray, size: int) -> np.ndarray:
    """Images of 8 x 8 pixels, 20 pixels high in the middle of an image of that size."""
    large = [np.asarray(Image.fromarray(x).resize((HEIGHT, HEIGHT), Image.Resampling.BICUBIC)) for x in images]
    edge = (size - HEIGHT) // 2
    return np.pad(np.stack(large), ((0, 0), (edge, edge), (edge, edge)))[..., None]


def coarse(images: np.ndarray) -> np.ndarray:
    """The middle of MNIST's images with 8 x 8 pixels, made as large as before."""
    edge = (images.shape[1] - HEIGHT) // 2
    middles = images[:, edge : edge + HEIGHT, edge : edge + HEIGHT, 0]
    small = [np.asarray(Image.fromarray(x).resize((PIXELS, PIXELS), Image.Resampling.BOX)) for x in middles]
    return enlarged(np.stack(small), images.shape[1])


def investigate(study: Study) -> Finding:
    outcome = classic(study)
    digits = load("digits").test
    rows = []
    for seed, trained in study.learned(outcome).items():
        at_home = api.load_data(trained.config).validation
        images, labels = at_home.images[:1000], at_home.labels[:1000]
        elsewhere = enlarged(digits.images[..., 0], images.shape[1])
        rows.append(
            {
                "seed": seed,
                "at home": 100 * trained.accuracy(images, labels),
                "at home, coarse": 100 * trained.accuracy(coarse(images), labels),
                "elsewhere": 100 * trained.accuracy(elsewhere, digits.labels),
            }
        )
    table = study.write("accuracy", rows)
    places = ("at home", "at home, coarse", "elsewhere")
    values = {name: dict(zip(table["seed"], table[name], strict=True)) for name in places}
    study.draw("figure", figures.by_variant(values, "%"), f"n = {len(table)}")
    more = {name: float(table[name].mean()) for name in places} | {"chance": 10.0, "left out": study.left_out(outcome)}
    statistic = "accuracy on coarse MNIST images minus on scikit-learn's digits"
    return study.paired(statistic, "points", table["at home, coarse"].tolist(), table["elsewhere"].tolist(), more)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
