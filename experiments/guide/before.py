"""What does a network say before training, and after?

The guide: the outputs begin near [.1 .1 ... .1], without preference, and the loss begins high. For ten classes that is
a half squared error of 0.45 and a cross-entropy of ln 10 = 2.303.

    scripts/run experiments/guide/before.py --data-dir DIR    # two CPU cores; its verdict says how long

Two initialisers are asked: normal weights of deviation 0.01, which decide, and He's larger ones (he2015delving), the
default here, whose interval stands beside. Rule: supported if the 95 % t interval of the half squared error, over
networks, lies within a tenth of 0.45. Expected: supported for small random weights; He's begin with some preference.
"""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from classic import classic

from cnn_jax import api, losses, randomness
from cnn_jax.cli.study import main
from cnn_jax.layers import INITIALISERS
from cnn_jax.report import figures
from cnn_jax.runs.outcome import Outcome
from cnn_jax.runs.reader import Trial
from cnn_jax.runs.sweeps import trial_folder
from cnn_jax.study import Finding, Question, Study

EXPECTED, TOLERANCE = 0.45, 0.045
QUESTION = Question(
    "before", "Does an untrained network with small weights give every class about a tenth, and so lose about 0.45?",
    "supported if the 95 % t interval of the mean half squared error lies within 0.45 ± 0.045; contradicted if it "
    "lies outside; else undecided, as below 6 seeds", smallest_effect=None, most_seeds=8,
)  # fmt: skip
SCALES = {"0.01": "normal", "he": "he"}  # initialisers


def investigate(study: Study) -> Finding:
    outcome = classic(study)
    rows, outputs = [], []
    for seed, trained in study.finished(outcome).items():
        split = api.load_data(trained.config).validation
        images, labels = trained.normalise(split.images[:1000]), jnp.asarray(split.labels[:1000])
        key = randomness.initial_weights(randomness.run_key(seed))
        for scale, name in SCALES.items():
            logits = trained.network.apply(trained.network.init(key, INITIALISERS[name](1.0)), images)
            probabilities = np.asarray(jax.nn.softmax(logits))
            if scale == "he":
                outputs.append(probabilities[0])
            rows.append(
                {
                    "seed": seed, "weights": scale, "squared_error": float(losses.squared_error(logits, labels).mean()),
                    "cross_entropy": float(losses.cross_entropy(logits, labels).mean()),
                    "lowest_mean_output": float(probabilities.mean(0).min()),
                    "highest_mean_output": float(probabilities.mean(0).max()),
                }
            )  # fmt: skip
    table = study.write("untrained", rows)
    draw(study, np.stack(outputs), course(outcome))
    errors = {scale: of["squared_error"].tolist() for scale, of in table.groupby("weights")}
    found = {scale: _near(values) for scale, values in errors.items()}
    more = {
        "he": [found["he"].effect, found["he"].low, found["he"].high, found["he"].answer],
        "cross-entropy": table.groupby("weights")["cross_entropy"].mean().to_dict(), "ln 10": float(np.log(10)),
    }  # fmt: skip
    return _near(errors["0.01"], more)


def _near(values: list[float], more: dict | None = None) -> Finding:
    return Finding.paired(
        "half squared error of untrained networks, weights of deviation 0.01", "", values, [0.0] * len(values), more,
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
