"""What does a network say before training, and after?

The guide: the outputs begin near [.1 .1 ... .1], without preference, and the loss begins high. For ten classes that is
a half squared error of 0.45 and a cross-entropy of ln 10 = 2.303.

    scripts/run experiments/guide/before.py --data-dir DIR    # two CPU cores, some seconds

Rule: supported if the 95 % t interval of the half squared error, over networks, lies within a tenth of 0.45. Expected:
supported for small random weights; He's larger ones (he2015delving), the default here, begin with some preference.
"""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from cnn_jax import api, losses
from cnn_jax.cli.study import main
from cnn_jax.layers import INITIALISERS
from cnn_jax.report import figures
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.reader import Trial
from cnn_jax.runs.sweeps import trial_folder
from cnn_jax.study import Finding, Question, Study, classic

EXPECTED, TOLERANCE = 0.45, 0.045
QUESTION = Question(
    "before", "Does an untrained network give every class about a tenth, and so lose about 0.45?",
    "supported if the 95 % t interval of the mean half squared error lies within 0.45 ± 0.045; not supported if it "
    "lies outside; else inconclusive, as below 6 seeds",
)  # fmt: skip


def investigate(study: Study) -> Finding:
    outcome = classic(study)
    split = api.load_data(study.config()).validation
    images, labels = split.images[:1000], jnp.asarray(split.labels[:1000])
    small = INITIALISERS["normal"](1.0)  # standard deviation 0.01
    rows, outputs = [], []
    for seed, trained in study.learned(outcome).items():
        logits = trained.network.apply(trained.history()[0][1], trained.normalise(images))
        probabilities = np.asarray(jax.nn.softmax(logits))
        outputs.append(probabilities[0])
        fainter = trained.network.apply(trained.network.init(jax.random.key(seed), small), trained.normalise(images))
        rows.append(
            {
                "seed": seed, "squared_error": float(losses.squared_error(logits, labels).mean()),
                "cross_entropy": float(losses.cross_entropy(logits, labels).mean()),
                "squared_error_small_weights": float(losses.squared_error(fainter, labels).mean()),
                "lowest_mean_output": float(probabilities.mean(0).min()),
                "highest_mean_output": float(probabilities.mean(0).max()),
            }
        )  # fmt: skip
    table = study.write("untrained", rows)
    draw(study, np.stack(outputs), course(outcome))
    means = {name: float(table[name].mean()) for name in table.columns if name != "seed"}
    more = means | {"ln 10": float(np.log(10)), "left out": study.left_out(outcome)}
    values = table["squared_error"].tolist()
    return Finding.paired(
        "half squared error of untrained networks", "", values, [0.0] * len(values), more,
        above=EXPECTED - TOLERANCE, below=EXPECTED + TOLERANCE,
    )  # fmt: skip


def course(outcome: Outcome) -> list[list[float]]:
    """The validation loss by epoch of every seed, as far as it got."""
    assert outcome.table is not None
    trials = [Trial.open(trial_folder(outcome.folder, row.trial).path) for row in outcome.table.chosen_trials()]
    return [[m.validation.loss for m in trial.history if m.validation is not None] for trial in trials]


def draw(study: Study, outputs: np.ndarray, losses_by_epoch: list[list[float]]) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, (left, right) = figures.subplots(1, 2, figsize=(7.0, 2.8), layout="constrained")
        for row in outputs:
            left.plot(range(len(row)), row, "o", ms=3, color=figures.COLOURS[0], alpha=0.6)
        left.axhline(0.1, color="0.4", lw=0.8, ls="--")
        left.set_xticks(range(outputs.shape[1]))
        left.set_ylabel("p")
        for one in losses_by_epoch:
            right.plot(range(1, len(one) + 1), one, color=figures.COLOURS[1], lw=0.8, marker="o", ms=2)
        right.axhline(np.log(10), color="0.4", lw=0.8, ls="--", label="ln 10")
        right.set_ylabel("−ln p")
        right.set_xlabel("epoch")
        right.set_ylim(bottom=0)
        right.legend()
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
