"""Do pooling and nonlinearities control overfitting?

The guide: the layers between the convolutions help to control overfitting.

    scripts/run experiments/guide/overfitting.py --data-dir DIR    # two CPU cores; its verdict says how long

Networks of equal parameters with and without max pools, with and without ReLUs, trained for 200 epochs on 1,000 images.
The statistic is the gap between training and test accuracy of the scored weights, without pools minus with them.
Expected: the gap is larger without pools; a network without nonlinearity fits less, and so overfits less, not more.
"""

from typing import Any

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.data import Split
from cnn_jax.report import figures
from cnn_jax.runs.outcome import Outcome
from cnn_jax.statistics import median
from cnn_jax.study import Comparison, Finding, Question, Study, percentages

QUESTION = Question(
    "overfitting", "Is the gap between training and test accuracy larger without pooling?", smallest_effect=1.0
)
COMPARISON = Comparison(
    QUESTION,
    variants={
        "relu max2": {"network": "conv3-16:same relu max2 conv3-32:same relu max2 conv3-32:same relu gap dense-10"},
        "relu": {"network": "conv3-16:same relu conv3-32:same relu conv3-32:same relu gap dense-10"},
        "max2": {"network": "conv3-16:same max2 conv3-32:same max2 conv3-32:same gap dense-10"},
    },
    better="relu",
    worse="relu max2",
    base={"train_examples": 1000, "epochs": 200, "select": "final"},
)


def investigate(study: Study) -> Finding:
    outcomes, _ = COMPARISON.train(study)
    gaps = {name: gap(study, outcome) for name, outcome in outcomes.items()}
    study.write("seeds", [{"variant": v, "seed": s, "gap": x} for v, by in gaps.items() for s, x in by.items()])
    study.draw("figure", figures.by_variant(gaps, "Δ%"), f"n = {len(study.seeds)}")
    more: dict[str, Any] = {
        "chosen": COMPARISON.chosen(outcomes),
        "at chance": {name: outcome.at_chance for name, outcome in outcomes.items()},
        "median test accuracy": {
            name: median(list(percentages(outcome).values())) for name, outcome in outcomes.items()
        },
    }
    values = {name: [by_seed[seed] for seed in study.seeds] for name, by_seed in gaps.items()}
    if "max2" in values:
        found = Finding.paired("", "points", values["max2"], values["relu max2"])
        more["gap without ReLU minus with"] = [found.effect, found.low, found.high]
    statistic = "gap of training and test accuracy, without pools minus with"
    better, worse = COMPARISON.better, COMPARISON.worse
    chance = (outcomes[better].at_chance, outcomes[worse].at_chance)
    return study.paired(statistic, "points", values[better], values[worse], more, at_chance=chance)


def gap(study: Study, outcome: Outcome) -> dict[int, float | None]:
    """Training accuracy minus test accuracy of the scored weights, in points, by seed; None for a network that
    diverged."""
    networks, test = study.finished(outcome), percentages(outcome)
    gaps: dict[int, float | None] = dict.fromkeys(study.seeds)
    for seed, network in networks.items():
        accuracy, train = test[seed], api.load_data(network.config).train
        assert accuracy is not None
        assert isinstance(train, Split)
        gaps[seed] = 100 * network.accuracy(train.images, train.labels) - accuracy
    return gaps


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
