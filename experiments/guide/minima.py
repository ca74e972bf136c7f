"""Does training end in one minimum or in many?

The guide names non-convex optimisation among the topics it leaves for later.

    scripts/run experiments/guide/minima.py --data-dir DIR    # two CPU cores, some seconds

The training loss on the straight line between the weights of two seeds, above the straight line between the losses of
its ends; the barrier is the largest difference. Twelve seeds make six disjoint pairs. Rule: supported if the 95 % t
interval of the barrier lies above 0.1 nats. Expected: a barrier between any two, although their accuracies hardly
differ, n = 6 pairs.
"""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.data import Split
from cnn_jax.insight.landscape import mean_loss
from cnn_jax.losses import LOSSES
from cnn_jax.report import figures
from cnn_jax.runs.model import TrainedModel
from cnn_jax.study import SMALL, Finding, Question, Study, percentages

MARGIN = 0.1  # nats
QUESTION = Question(
    "minima", "Is there a barrier of loss between the weights of two seeds?",
    "supported if the 95 % t interval of the barrier lies above 0.1 nats; not supported if it lies below; else "
    "inconclusive, as below 6 pairs", seeds=12, quick_seeds=4,
)  # fmt: skip
PLACES = np.linspace(0, 1, 21)


def investigate(study: Study) -> Finding:
    outcome = study.sweep("sweep", {"learning_rate": (0.03,)}, **SMALL)
    networks = study.finished(outcome)
    split = api.load_data(outcome.config).train
    assert isinstance(split, Split)
    pairs = list(zip(study.seeds[::2], study.seeds[1::2], strict=False))
    lines = {
        (a, b): on_line(networks[a], networks[b], split.images[:1000], split.labels[:1000])
        for a, b in pairs
        if a in networks and b in networks
    }
    study.write(
        "lines",
        [
            {"seed": a, "other seed": b, "place": t, "loss": x}
            for (a, b), line in lines.items()
            for t, x in zip(PLACES, line, strict=True)
        ],
    )
    draw(study, list(lines.values()))
    accuracy = [x for x in percentages(outcome).values() if x is not None]
    more = {
        "spread of test accuracy, points": float(np.ptp(accuracy)),
        "loss at the ends": float(np.mean([line[[0, -1]] for line in lines.values()])),
        "networks that diverged": outcome.diverged,
        "networks at chance": outcome.at_chance,
    }
    barriers = [barrier(lines[pair]) if pair in lines else None for pair in pairs]  # None: one of the two diverged
    statistic = "barrier of the training loss between two seeds"
    return Finding.paired(statistic, "nats", barriers, [0.0] * len(barriers), more, above=MARGIN)


def barrier(line: np.ndarray) -> float:
    """How far the loss at PLACES rises above the straight line between its ends."""
    return float((line - (1 - PLACES) * line[0] - PLACES * line[-1]).max())


def on_line(one: TrainedModel, other: TrainedModel, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The loss over uint8 images at PLACES of the way from one network's weights to another's."""
    images, labels = one.normalise(pixels), jnp.asarray(classes)

    @jax.jit
    def at(a, b, t):
        params = jax.tree.map(lambda x, y: (1 - t) * x + t * y, a, b)
        return mean_loss(one.network, LOSSES[one.config.loss], {**one.variables, "params": params}, images, labels)

    a, b = one.variables["params"], other.variables["params"]
    return np.array([float(at(a, b, t)) for t in PLACES])


def draw(study: Study, lines: list[np.ndarray]) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plot = figures.subplots(figsize=(4.2, 2.8), layout="constrained")
        for line in lines:
            plot.plot(PLACES, line, color=figures.COLOURS[0], lw=1)
        plot.set_xlabel("(1 − t) w₀ + t w₁")
        plot.set_ylabel("L")
        plot.set_yscale("log")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
