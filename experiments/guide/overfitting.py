"""Do pooling and nonlinearities control overfitting?

The guide: the layers between the convolutions help to control overfitting.

    scripts/run experiments/guide/overfitting.py --data-dir DIR    # two CPU cores, about a minute

Networks with and without max pools, with and without ReLUs, trained for many epochs on 1,000 images. The statistic is
the gap between training and test accuracy of the final weights, without pools minus with them; each variant has the
better of the same two learning rates. Expected: the gap is larger without pools,
n = 8 seeds; a network without nonlinearity fits less, and so overfits less, not more.
"""

from typing import Any

from cnn_jax import lab
from cnn_jax.cli.study import main
from cnn_jax.data import Split
from cnn_jax.lab.study import Comparison, Finding, Question, Study
from cnn_jax.report import figures
from cnn_jax.runs.outcome import Outcome

QUESTION = Question("overfitting", "Is the gap between training and test accuracy larger without pooling?")
COMPARISON = Comparison(
    QUESTION,
    variants={
        "relu max2": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"},
        "relu": {"network": "conv5-8:same relu conv5-16:same relu dense-64 relu dense-10"},
        "max2": {"network": "conv5-8:same max2 conv5-16:same max2 dense-64 dense-10"},
        "0": {"network": "conv5-8:same conv5-16:same dense-64 dense-10"},
    },
    better="relu",
    worse="relu max2",
    learning_rates=(0.003, 0.01),
    base={"train_examples": 1000, "epochs": 12},
)


def investigate(study: Study) -> Finding:
    gaps = {name: gap(study, outcome) for name, outcome in COMPARISON.train(study).items()}
    study.write("seeds", [{"variant": v, "seed": s, "gap": x} for v, by in gaps.items() for s, x in by.items()])
    study.draw("figure", figures.by_variant(gaps, "Δ%", f"n = {len(study.seeds)}"))
    more: dict[str, Any] = {"networks that did not diverge": {v: len(by) for v, by in gaps.items()}}
    if "max2" in gaps:
        found = Finding.paired("", "points", *both(gaps, "max2", "relu max2"))
        more["gap without ReLU minus with"] = [found.effect, found.low, found.high]
    statistic = "gap of training and test accuracy, without pools minus with"
    a, b = both(gaps, COMPARISON.better, COMPARISON.worse)
    return Finding.paired(statistic, "points", a, b, more)


def both(gaps: dict[str, dict[int, float]], one: str, other: str) -> tuple[list[float], list[float]]:
    """The gaps of two variants over the seeds with which neither diverged."""
    seeds = sorted(set(gaps[one]) & set(gaps[other]))
    return [gaps[one][s] for s in seeds], [gaps[other][s] for s in seeds]


def gap(study: Study, outcome: Outcome) -> dict[int, float]:
    """Accuracy of the final weights on the images they were trained with minus test accuracy, in points, by seed; of
    networks that did not diverge."""
    train = lab.dataset(outcome.config).train
    assert isinstance(train, Split)
    test = outcome.by_seed("test.accuracy")
    return {
        seed: 100 * (one.accuracy(train.images, train.labels) - test[seed])
        for seed, one in study.trained(outcome).items()
    }


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
