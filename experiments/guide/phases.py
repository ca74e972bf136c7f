"""What happens in one step of training: forward pass, loss, backward pass, update?

The guide: the four phases; dL/dW says how much each weight contributed to the loss, and weights are updated "in the
direction of the gradient". The sign of that sentence is wrong, as its own formula w = w_i - eta dL/dW shows: weights
change against the gradient.

    scripts/run experiments/guide/phases.py --data-dir DIR    # two CPU cores, some seconds

Replays the phases for one image in float64. Expected: every dL/dW agrees with finite differences to 1e-6; a step
against the gradient lowers the loss, one along it raises it. Whether the weights with a large |dL/dW| are those that
contributed most is another question: the table compares it with what happens to the loss when a weight is removed, by
rank correlation. Expected of that: a weak one, since a derivative is about small changes.
"""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from cnn_jax import losses
from cnn_jax.cli.study import main
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study

QUESTION = Question.exact("phases", "Is dL/dW what finite differences say, and does a step against it lower the loss?")
NETWORK = "conv5-4:same relu max2 conv5-8:same relu max2 dense-10"
RATE = 0.02
PROBES = 12  # weights of each array that are moved by hand
AGREES = 1e-6


def investigate(study: Study) -> Finding:
    split = study.training()
    image, label = np.asarray(split.images[0]), np.asarray(split.labels[:1])
    with jax.enable_x64(True):
        network = Network(image.shape, parse(NETWORK))
        start = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), network.init(jax.random.key(0))["params"])
        x, y = jnp.asarray(image[None] / 255.0 - 0.5, jnp.float64), jnp.asarray(label, jnp.int32)

        def loss(params):
            return losses.squared_error(network.apply({"params": params}, x), y)[0]

        maps = network.activations({"params": start}, x)  # 1. the forward pass
        before = float(loss(start))  # 2. the loss
        gradient = jax.grad(loss)(start)  # 3. the backward pass
        steps = {sign: jax.tree.map(lambda w, g, s=sign: w + s * RATE * g, start, gradient) for sign in (-1, 1)}  # 4.
        after = {sign: float(loss(params)) for sign, params in steps.items()}
        rows = [
            {"layer": layer, "array": name, **compared(loss, start, gradient, layer, name)}
            for layer, arrays in start.items()
            for name in arrays
        ]
        filters = [np.asarray(tree["conv1"]["kernel"])[..., 0, :] for tree in (start, gradient, steps[-1])]
        draw(study, image, {k: np.asarray(v[0]) for k, v in maps.items()}, filters)
        removed = ablated(loss, start, gradient)
    table = study.write("gradients", rows)
    study.write("removed", removed)
    worst = float(table["error"].max())
    more = {
        "loss": before, "loss after a step against the gradient": after[-1], "along it": after[1],
        "largest relative error of a derivative": worst, "learning_rate": RATE,
        "rank correlation of |dL/dW| with the change of the loss when a weight is removed": float(
            stats.spearmanr([row["derivative"] for row in removed], [row["change"] for row in removed]).statistic
        ),
    }  # fmt: skip
    holds = worst < AGREES and after[-1] < before < after[1]
    return Finding.exact("change of the loss by a step against the gradient", "", after[-1] - before, holds, more)


def compared(loss, params, gradient, layer: str, name: str) -> dict[str, float]:
    """The largest difference to central differences over some weights, as a share of the largest derivative."""
    flat = np.asarray(params[layer][name]).ravel()
    exact = np.asarray(gradient[layer][name]).ravel()
    places = np.random.default_rng(0).permutation(flat.size)[:PROBES]
    differences = []
    for place in places:
        values = []
        for sign in (1, -1):
            moved = flat.copy()
            moved[place] += sign * 1e-5
            shaped = jnp.asarray(moved.reshape(np.shape(params[layer][name])))
            values.append(float(loss({**params, layer: {**params[layer], name: shaped}})))
        differences.append((values[0] - values[1]) / 2e-5)
    scale = max(float(np.abs(exact).max()), 1e-12)
    return {
        "weights": flat.size,
        "probed": len(places),
        "error": float(np.abs(exact[places] - differences).max()) / scale,
    }


def ablated(loss, params, gradient) -> list[dict[str, float]]:
    """For each filter weight of the first layer |dL/dW| and how much the loss changes without the weight."""
    kernel = params["conv1"]["kernel"]
    before, slope = float(loss(params)), np.abs(np.asarray(gradient["conv1"]["kernel"])).ravel()

    @jax.jit
    def without(place):
        return loss(
            {**params, "conv1": {**params["conv1"], "kernel": kernel.ravel().at[place].set(0).reshape(kernel.shape)}}
        )

    changes = [abs(float(without(place)) - before) for place in range(kernel.size)]
    return [
        {"weight": i, "derivative": float(a), "change": b} for i, (a, b) in enumerate(zip(slope, changes, strict=True))
    ]


def draw(study: Study, image: np.ndarray, maps: dict[str, np.ndarray], filters: list[np.ndarray]) -> None:
    """Top: the image, a map of every layer, the logits. Below: the old filters, dL/dW, the new filters."""
    layers = [name for name in maps if maps[name].ndim == 3]
    with matplotlib.rc_context(figures.STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(8.5, 3.6), layout="constrained")
        top, below = figure.subfigures(2, 1)  # type: ignore[misc]
        plots = top.subplots(1, len(layers) + 2)
        plots[0].imshow(image.squeeze(), cmap="gray")
        for plot, name in zip(plots[1:-1], layers, strict=True):
            plot.imshow(maps[name][..., 0], cmap="viridis")
            plot.set_title(name, fontsize=7)
        logits = maps[list(maps)[-1]]
        plots[-1].bar(range(len(logits)), np.exp(logits) / np.exp(logits).sum(), color=figures.COLOURS[0])
        for plot in plots[:-1]:
            plot.axis("off")
        small = below.subplots(1, 3)
        for plot, kernels, title in zip(small, filters, ("w", "∂L/∂w", "w − η ∂L/∂w"), strict=True):
            tiled = np.concatenate(
                [np.pad(kernels[..., i], 1, constant_values=np.nan) for i in range(kernels.shape[-1])], 1
            )
            most = np.nanmax(np.abs(tiled))
            plot.imshow(tiled, cmap="RdBu_r", vmin=-most, vmax=most)
            plot.set_title(title, fontsize=8)
            plot.axis("off")
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
