"""How far does a trained network carry over to another image environment?

The guide: to generalise from what is known and to adapt to different image environments is a skill that machines do not
share with us.

    scripts/run experiments/guide/transfer.py --data-dir DIR    # two CPU cores, under a minute

Trains on MNIST and looks at the digits of scikit-learn, which other people wrote and another machine scanned, made as
large and centred alike. Rule: supported if accuracy falls there, by the 95 % t interval over seeds. Expected: it falls
by many points, n = 8 seeds.
"""

import numpy as np
from PIL import Image

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.data import load
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study, classic

QUESTION = Question("transfer", "Does a network trained on MNIST lose accuracy on other digits?", dataset="mnist")


def elsewhere(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The 8 x 8 digits, 20 pixels high in an image of that size, as MNIST's are (lecun1998gradient, III.A)."""
    digits = load("digits")
    large = [
        np.asarray(Image.fromarray(x[..., 0]).resize((20, 20), Image.Resampling.BICUBIC)) for x in digits.test.images
    ]
    edge = (size - 20) // 2
    return np.pad(np.stack(large), ((0, 0), (edge, edge), (edge, edge)))[..., None], digits.test.labels


def investigate(study: Study) -> Finding:
    outcome = classic(study)
    networks = study.learned(outcome)
    at_home = api.load_data(study.config()).validation
    images, labels = elsewhere(at_home.image_shape[0])
    rows = [
        {
            "seed": seed,
            "at home": 100 * trained.accuracy(at_home.images[:1000], at_home.labels[:1000]),
            "elsewhere": 100 * trained.accuracy(images, labels),
        }
        for seed, trained in networks.items()
    ]
    table = study.write("accuracy", rows)
    values = {name: dict(zip(table["seed"], table[name], strict=True)) for name in ("at home", "elsewhere")}
    study.draw(
        "figure",
        figures.by_variant({"28 x 28": values["at home"], "8 x 8": values["elsewhere"]}, "%", f"n = {len(table)}"),
    )
    means = {where: float(table[where].mean()) for where in ("at home", "elsewhere")}
    more = means | {"chance": 10.0, "left out": study.left_out(outcome)}
    statistic = "accuracy on MNIST's validation images minus on scikit-learn's digits"
    return Finding.paired(statistic, "points", table["at home"].tolist(), table["elsewhere"].tolist(), more)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
