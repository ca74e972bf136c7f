"""Does training end in one minimum or in many?

The guide names non-convex optimisation among the topics it leaves for later.

    scripts/run experiments/guide/minima.py --data-dir DIR    # two CPU cores, about two minutes

The training loss on the straight line between the weights of two seeds; the barrier is its highest value minus the mean
of the ends, for eight disjoint or overlapping pairs of neighbours. Expected: a barrier between any two, although their
accuracies hardly differ, n = 8 pairs.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from cnn_jax.cli.study import main
from cnn_jax.insight.landscape import mean_loss
from cnn_jax.lab.study import Finding, Question, Study, classic
from cnn_jax.report import figures
from cnn_jax.runs.trained import Trained

QUESTION = Question("minima", "Is there a barrier of loss between the weights of two seeds?")
PLACES = np.linspace(0, 1, 21)


def investigate(study: Study) -> Finding:
    outcome = classic(study)
    networks = list(study.trained(outcome).values())
    split = study.training()
    images, labels = networks[0].normalise(split.images[:1000]), jnp.asarray(split.labels[:1000])
    lines = []
    for one, other in zip(networks, [*networks[1:], networks[0]], strict=True):  # each seed with the next, in a ring
        lines.append(on_line(one, other, images, labels))
    study.write(
        "lines",
        [{"pair": i, "place": t, "loss": x} for i, line in enumerate(lines) for t, x in zip(PLACES, line, strict=True)],
    )
    draw(study, lines)
    accuracy = [100 * x for x in outcome.by_seed("test.accuracy").values()]
    more = {
        "spread of test accuracy, points": float(np.ptp(accuracy)),
        "loss at the ends": float(np.mean([line[0] for line in lines])),
    }
    highest, ends = ([float(max(line)) for line in lines], [float((line[0] + line[-1]) / 2) for line in lines])
    return Finding.paired("highest loss on the line between two minima, minus the ends", "nats", highest, ends, more)


def on_line(one: Trained, other: Trained, images, labels) -> np.ndarray:
    """The loss at PLACES of the way from one network's weights to another's."""

    @jax.jit
    def at(a, b, t):
        params = jax.tree.map(lambda x, y: (1 - t) * x + t * y, a, b)
        return mean_loss(one.network, {**one.variables, "params": params}, images, labels)

    a, b = one.variables["params"], other.variables["params"]
    return np.array([float(at(a, b, t)) for t in PLACES])


def draw(study: Study, lines: list[np.ndarray]) -> None:
    with plt.rc_context(figures.STYLE):
        figure, plot = plt.subplots(figsize=(4.2, 2.8), layout="constrained")
        for line in lines:
            plot.plot(PLACES, line, color=figures.COLOURS[0], lw=1)
        plot.set_xlabel("(1 − t) w₀ + t w₁")
        plot.set_ylabel("L")
        plot.set_yscale("log")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
