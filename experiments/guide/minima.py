"""Does training end in one minimum or in many?

The guide names non-convex optimisation among the topics it leaves for later.

    scripts/run experiments/guide/minima.py --data-dir DIR    # two CPU cores; its verdict says how long

The training loss on the straight line between the weights of two seeds, above the straight line between the losses of
its ends; the barrier is the largest difference. Units can change places without changing the function, so the units of
the one network are first put in the order in which its weights are nearest to the other's (ainsworth2023git, 3.2). Each
seed is trained twice, from two beginnings. Rule: supported if the 95 % t interval of the barrier lies above 0.1 nats.
Expected: a barrier between any two, although their accuracies hardly differ, and a lower one after matching.
"""

import itertools

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from scipy import optimize

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.data import Split
from cnn_jax.insight.landscape import mean_loss
from cnn_jax.losses import LOSSES
from cnn_jax.network import Network
from cnn_jax.report import figures
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.sweeps import trial_folder
from cnn_jax.study import SMALL, Finding, Question, Study

MARGIN = 0.1  # nats
QUESTION = Question(
    "minima", "Is there a barrier of loss between the weights of two seeds, whatever the order of their units?",
    "supported if the 95 % t interval of the barrier after matching lies above 0.1 nats; contradicted if it lies "
    "below; else undecided, as below 6 pairs", smallest_effect=None,
)  # fmt: skip
PLACES = np.linspace(0, 1, 21)
OTHER = 10_000  # added to a seed: the second beginning
ROUNDS = 50


def investigate(study: Study) -> Finding:
    seeds = (*study.seeds, *(seed + OTHER for seed in study.seeds))
    sweep = study.trials("networks", {"learning_rate": (0.03,)}, seeds=seeds, **{**SMALL, "split_seed": 0})
    networks = {
        row.seed: TrainedModel.load(trial_folder(sweep.folder, row.trial).path)
        for row in sweep.table.rows
        if row.status == "complete"
    }
    rows, barriers = [], {name: dict.fromkeys(study.seeds) for name in ("as they are", "matched")}
    lines: dict[str, list[np.ndarray]] = {name: [] for name in barriers}
    for seed in study.seeds:
        if seed not in networks or seed + OTHER not in networks:
            continue  # one of the two diverged
        one, other = networks[seed], networks[seed + OTHER]
        split = api.load_data(one.config).train
        assert isinstance(split, Split)
        ends = {
            "as they are": other.variables["params"],
            "matched": matched(one.network, one.variables["params"], other.variables["params"]),
        }
        for name, params in ends.items():
            line = on_line(one, params, split.images[:1000], split.labels[:1000])
            lines[name].append(line)
            barriers[name][seed] = barrier(line)
            rows += [{"seed": seed, "units": name, "place": t, "loss": x} for t, x in zip(PLACES, line, strict=True)]
    study.write("lines", rows)
    draw(study, lines)
    accuracy = [100 * row.accuracy for row in sweep.table.rows if row.accuracy is not None]
    before, after = (list(by_seed.values()) for by_seed in barriers.values())
    plain = Finding.paired("", "nats", before, [0.0] * len(before), above=MARGIN)
    more = {
        "barrier before matching": [plain.effect, plain.low, plain.high, plain.answer],
        "spread of validation accuracy, points": float(np.ptp(accuracy)) if accuracy else None,
        "loss at the ends": float(np.mean([line[[0, -1]] for line in lines["matched"]])) if lines["matched"] else None,
    }
    statistic = "barrier of the training loss between two seeds, units matched"
    return Finding.paired(statistic, "nats", after, [0.0] * len(after), more, above=MARGIN)


def matched(network: Network, a: dict, b: dict) -> dict:
    """The parameters `b` of a stack of convolutions and dense layers with the units of every layer but the last in the
    order in which they are nearest to `a` (ainsworth2023git, algorithm 1)."""
    names = [node.name for node in network.nodes if node.parameters]
    orders = {name: np.arange(a[name]["bias"].size) for name in names[:-1]}

    def arranged(name: str) -> np.ndarray:
        """The kernel of `b` as (place, input unit, unit), with its input units in their present order."""
        before = names[names.index(name) - 1] if name != names[0] else None
        kernel = np.asarray(b[name]["kernel"], np.float64)
        inputs = np.shape(b[name]["kernel"])[-2] if before is None else len(orders[before])
        kernel = kernel.reshape(-1, inputs, kernel.shape[-1])
        return kernel if before is None else kernel[:, orders[before]]

    def of_a(name: str) -> np.ndarray:
        return np.asarray(a[name]["kernel"], np.float64).reshape(arranged(name).shape)

    for _ in range(ROUNDS):
        changed = False
        for name, following in itertools.pairwise(names):
            likeness = np.einsum("pij,pik->jk", of_a(name), arranged(name))
            likeness += np.outer(a[name]["bias"], b[name]["bias"])
            unordered = np.asarray(b[following]["kernel"], np.float64).reshape(of_a(following).shape)
            own = orders[following] if following in orders else np.arange(len(b[following]["bias"]))
            likeness += np.einsum("pij,pkj->ik", of_a(following), unordered[..., own])
            order = optimize.linear_sum_assignment(likeness, maximize=True)[1]
            changed |= bool((order != orders[name]).any())
            orders[name] = order
        if not changed:
            break
    found = {}
    for name in names:
        kernel = arranged(name).reshape(np.shape(b[name]["kernel"]))
        order = orders.get(name, np.arange(kernel.shape[-1]))
        found[name] = {
            "kernel": jnp.asarray(kernel[..., order], jnp.float32), "bias": jnp.asarray(b[name]["bias"])[order],
        }  # fmt: skip
    return found


def barrier(line: np.ndarray) -> float:
    """How far the loss at PLACES rises above the straight line between its ends."""
    return float((line - (1 - PLACES) * line[0] - PLACES * line[-1]).max())


def on_line(one: TrainedModel, other: dict, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The loss over uint8 images at PLACES of the way from a network's parameters to others."""
    images, labels = one.normalise(pixels), jnp.asarray(classes)

    @jax.jit
    def at(a, b, t):
        params = jax.tree.map(lambda x, y: (1 - t) * x + t * y, a, b)
        return mean_loss(one.network, LOSSES[one.config.loss], {**one.variables, "params": params}, images, labels)

    return np.array([float(at(one.variables["params"], other, t)) for t in PLACES])


def draw(study: Study, lines: dict[str, list[np.ndarray]]) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plot = figures.subplots(figsize=(4.2, 2.8), layout="constrained")
        for i, (name, of) in enumerate(lines.items()):
            for j, line in enumerate(of):
                plot.plot(PLACES, line, color=figures.COLOURS[i], lw=1, label="" if j else name)
        plot.set_xlabel("(1 − t) w₀ + t w₁")
        plot.set_ylabel("L")
        plot.set_yscale("log")
        plot.legend(fontsize=7)
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
