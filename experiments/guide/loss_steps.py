"""Does a learning rate that is too high jump about on the loss surface?

The guide draws a loss curve on which steps of a high learning rate jump over the optimum.

    scripts/run experiments/guide/loss_steps.py --data-dir DIR    # two CPU cores, under a minute

Keeps the weights of every short epoch; the statistic is the length of the path over the distance from its beginning to
its end, of the large rate minus the small one, paired by seed. Expected: the path of the large rate is the more
winding, n = 8 seeds. The figure draws both on the plane of their principal components (li2018visualizing, 7).
"""

from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import matplotlib
import numpy as np

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.insight import landscape
from cnn_jax.losses import LOSSES
from cnn_jax.report import figures
from cnn_jax.runs.model import TrainedModel
from cnn_jax.statistics import median
from cnn_jax.study import SMALL, Finding, Question, Study

QUESTION = Question("loss_steps", "Is the way of a high learning rate over the loss surface the more winding?")
RATES = (0.02, 0.1)


def investigate(study: Study) -> Finding:
    fields: dict[str, Any] = {**SMALL, "train_examples": 640, "epochs": 16, "momentum": 0.0, "keep_all": True}
    outcomes = {rate: study.sweep(f"rate-{rate:g}", {"learning_rate": (rate,)}, **fields) for rate in RATES}
    networks = {rate: study.finished(outcome) for rate, outcome in outcomes.items()}
    winding = {
        rate: {s: tortuosity(path(of[s])) if s in of else None for s in study.seeds} for rate, of in networks.items()
    }
    study.write(
        "winding", [{"seed": s, "learning_rate": r, "winding": x} for r in RATES for s, x in winding[r].items()]
    )
    if both := [seed for seed in study.seeds if all(seed in of for of in networks.values())]:
        draw(study, {rate: networks[rate][both[0]] for rate in RATES})
    small, large = ([winding[rate][seed] for seed in study.seeds] for rate in RATES)
    more = {"median": {f"{rate:g}": median(list(winding[rate].values())) for rate in RATES}}
    chance = (outcomes[RATES[1]].at_chance, outcomes[RATES[0]].at_chance)
    statistic = "length of the path over its reach, large rate minus small"
    return Finding.paired(statistic, "", large, small, more, at_chance=chance)


def path(trained: TrainedModel) -> list:
    """The weights after every epoch, those before the first one too."""
    return [variables["params"] for _, variables in trained.history()]


def tortuosity(weights: list) -> float:
    """How many times as long as the straight line the way through the weights is; 1 is straight."""
    flat = np.stack([np.asarray(jax.flatten_util.ravel_pytree(one)[0], np.float64) for one in weights])
    return float(np.linalg.norm(np.diff(flat, axis=0), axis=1).sum() / np.linalg.norm(flat[-1] - flat[0]))


def draw(study: Study, networks: dict[float, TrainedModel]) -> None:
    """Both ways from the same weights, by learning rate, on one plane."""
    first, second = map(path, networks.values())
    trained, *_ = networks.values()
    split = api.load_data(trained.config).validation
    images, labels = trained.normalise(split.images[:256]), jnp.asarray(split.labels[:256])
    plane = landscape.trajectory([*first, *second])  # seen from the end of the second way
    ways = plane.places[: len(first)], plane.places[len(first) :]
    low, high = plane.places.min(0), plane.places.max(0)
    xs, ys = (np.linspace(a - 0.15 * (b - a), b + 0.15 * (b - a) + 1e-6, 25) for a, b in zip(low, high, strict=True))
    surface = landscape.on_plane(
        trained.network, LOSSES[trained.config.loss], {**trained.variables, "params": second[-1]}, plane.first,
        plane.second, images, labels, jnp.asarray(xs, jnp.float32), jnp.asarray(ys, jnp.float32),
    )  # fmt: skip
    with matplotlib.rc_context(figures.STYLE | {"axes.grid": False}):
        figure, plot = figures.subplots(figsize=(4.4, 3.4), layout="constrained")
        drawn = plot.contourf(xs, ys, np.log10(np.clip(surface, 1e-6, 1e6)), 20, cmap="Greys_r")
        figure.colorbar(drawn, ax=plot, label="log₁₀ L")
        for i, (way, rate) in enumerate(zip(ways, networks, strict=True)):
            plot.plot(*way.T, "o-", color=figures.COLOURS[i], ms=3, lw=1, label=f"η = {rate:g}")
        plot.legend(fontsize=7)
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
