"""Does a learning rate that is too high jump about on the loss surface?

The guide draws a loss curve on which steps of a high learning rate jump over the optimum.

    scripts/run experiments/guide/loss_steps.py --data-dir DIR    # two CPU cores; its verdict says how long

Gradient descent on all 640 images at once, so that every epoch is one step and the loss surface is the same for all;
the weights after each are kept. A step jumps over the optimum along its line if the next one goes back: the statistic
is the share of pairs of successive steps whose directions have a negative cosine, of a large rate minus a small one.
Expected: the large rate jumps, the small one does not. The figure draws both on the plane of their principal components
(li2018visualizing, 7).
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
from cnn_jax.runs.sweeps import SweepReader, trial_folder
from cnn_jax.statistics import median
from cnn_jax.study import SMALL, Finding, Question, Study

QUESTION = Question(
    "loss_steps", "Do the steps of a learning rate that is too high jump back and forth on the loss surface?",
    smallest_effect=0.05,
)  # fmt: skip
RATES = (0.05, 1.0)
IMAGES = 640


def investigate(study: Study) -> Finding:
    fields: dict[str, Any] = {
        **SMALL, "select": "final", "train_examples": IMAGES, "batch_size": IMAGES, "epochs": 40, "momentum": 0.0,
        "keep_all": True,
    }  # fmt: skip
    outcomes = {rate: study.trials(f"rate-{rate:g}", {"learning_rate": (rate,)}, **fields) for rate in RATES}
    networks = {
        rate: {
            row.seed: TrainedModel.load(trial_folder(sweep.folder, row.trial).path)
            for row in sweep.table.rows
            if row.status == "complete"
        }
        for rate, sweep in outcomes.items()
    }
    jumps = {
        rate: {s: reversals(path(of[s])) if s in of else None for s in study.seeds} for rate, of in networks.items()
    }
    rising = {rate: rises(sweep) for rate, sweep in outcomes.items()}
    study.write(
        "jumps",
        [
            {"seed": s, "learning_rate": r, "reversals": jumps[r][s], "rising losses": rising[r].get(s)}
            for r in RATES
            for s in study.seeds
        ],
    )
    if both := [seed for seed in study.seeds if all(seed in of for of in networks.values())]:
        draw(study, {rate: networks[rate][both[0]] for rate in RATES})
    small, large = ([jumps[rate][seed] for seed in study.seeds] for rate in RATES)
    more = {
        "median": {f"{rate:g}": median(list(jumps[rate].values())) for rate in RATES},
        "median share of steps after which the loss is higher": {
            f"{rate:g}": median(list(rising[rate].values())) for rate in RATES
        },
    }
    statistic = "share of steps that go back, large rate minus small"
    return study.paired(statistic, "", large, small, more)


def rises(sweep: SweepReader) -> dict[int, float | None]:
    """By seed the share of steps after which the training loss is higher than before."""
    found: dict[int, float | None] = {}
    for row in sweep.table.rows:
        losses = np.array([metrics.train.loss for metrics in trial_folder(sweep.folder, row.trial).metrics()])
        found[row.seed] = float((np.diff(losses) > 0).mean()) if len(losses) > 1 else None
    return found


def path(trained: TrainedModel) -> list:
    """The weights after every epoch, those before the first one too."""
    return [variables["params"] for _, variables in trained.history()]


def reversals(weights: list) -> float:
    """The share of pairs of successive steps with a negative cosine."""
    flat = np.stack([np.asarray(jax.flatten_util.ravel_pytree(one)[0], np.float64) for one in weights])
    steps = np.diff(flat, axis=0)
    return float(((steps[1:] * steps[:-1]).sum(1) < 0).mean()) if len(steps) > 1 else 0.0


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
