"""Do pooling and nonlinearities control overfitting?

The guide: the layers between the convolutions help to control overfitting.

    scripts/run experiments/guide/overfitting.py --data-dir DIR    # two CPU cores, about three minutes

Networks with and without max pools, with and without ReLUs, trained for many epochs on 1,000 images. The statistic is
the gap between training and test accuracy, without pools minus with them. Expected: the gap is larger without pools,
n = 8 seeds; a network without nonlinearity fits less, and so overfits less, not more.
"""

from cnn_jax.cli.study import main
from cnn_jax.lab.study import Comparison, Finding, Question, Study
from cnn_jax.report import figures
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.outcome import Outcome

QUESTION = Question("overfitting", "Is the gap between training and test accuracy larger without pooling?")
COMPARISON = Comparison(
    QUESTION,
    variants={
        "relu max2": {"network": "conv5-8:same relu max2 conv5-16:same relu max2 dense-64 relu dense-10"},
        "relu": {"network": "conv5-8:same relu conv5-16:same relu dense-64 relu dense-10", "learning_rates": (0.01,)},
        "max2": {"network": "conv5-8:same max2 conv5-16:same max2 dense-64 dense-10", "learning_rates": (0.01,)},
        "0": {"network": "conv5-8:same conv5-16:same dense-64 dense-10", "learning_rates": (0.003,)},
    },
    better="relu",
    worse="relu max2",
    learning_rates=(0.03,),
    base={"train_examples": 1000, "epochs": 12},
)


def investigate(study: Study) -> Finding:
    gaps = {name: gap(outcome) for name, outcome in COMPARISON.train(study).items()}
    study.write("seeds", [{"variant": v, "seed": s, "gap": x} for v, by in gaps.items() for s, x in by.items()])
    study.draw("figure", figures.by_variant(gaps, "Δ%", f"n = {len(study.seeds)}"))
    by_seed = {v: [by[s] for s in study.seeds] for v, by in gaps.items()}
    without_relu = Finding.paired("", "points", by_seed["max2"], by_seed["relu max2"])
    more = {
        "mean gap": {v: sum(by.values()) / len(by) for v, by in gaps.items()},
        "gap without ReLU minus with": [without_relu.effect, without_relu.low, without_relu.high],
    }
    statistic = "gap of training and test accuracy, without pools minus with"
    return Finding.paired(statistic, "points", by_seed[COMPARISON.better], by_seed[COMPARISON.worse], more)


def gap(outcome: Outcome) -> dict[int, float]:
    """Training accuracy of the last epoch minus test accuracy, in points, by seed."""
    assert outcome.table is not None
    test, found = outcome.by_seed("test.accuracy"), {}
    for number, trial in outcome.table.chosen_trials().iterrows():
        last = Folder(outcome.folder.path / "trials" / f"{number:04d}").metrics()[-1]
        found[int(trial["seed"])] = 100 * (last["train_accuracy"] - test[int(trial["seed"])])
    return found


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
