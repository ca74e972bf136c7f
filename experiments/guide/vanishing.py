"""Do gradients vanish on their way back through many layers?

The guide names vanishing gradients among the topics it leaves for later (glorot2010understanding; he2016deep).

    scripts/run experiments/guide/vanishing.py --data-dir DIR    # two CPU cores; its verdict says how long

The norm of the loss's gradient with respect to the kernels of the second and of the last convolution, in untrained
networks of 4, 8 and 16 convolutions: with sigmoids (weights as in glorot2010understanding), ReLUs (he2015delving),
batch norm, residual blocks. The statistic is log10 of second over last at 16 layers, ReLU minus sigmoid, paired by
seed. Expected: above 0 by several decades.
"""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from cnn_jax import api, losses
from cnn_jax.cli.study import main
from cnn_jax.layers import INITIALISERS, Conv
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study

QUESTION = Question(
    "vanishing",
    "Do gradients vanish through sigmoids more than through ReLUs?",
    smallest_effect=0.3,  # a factor of two
)
DEPTHS = (4, 8, 16)
BLOCKS = {
    "sigmoid": "conv3-8:same sigmoid",
    "relu": "conv3-8:same relu",
    "bn relu": "conv3-8:same bn relu",
    "res": "res( conv3-8:same bn ) relu",
}


def investigate(study: Study) -> Finding:
    data = api.load_data(study.config())
    train = study.training()
    images = (jnp.asarray(train.images[:64], jnp.float32) / 255 - data.mean) / data.std
    labels = jnp.asarray(train.labels[:64])
    rows = []
    for name, block in BLOCKS.items():
        for depth in DEPTHS[:1] if study.quick else DEPTHS:
            network = Network(
                data.image_shape, parse(f"conv3-8:same relu {' '.join([block] * (depth - 1))} gap dense-10")
            )
            init = INITIALISERS["glorot" if name == "sigmoid" else "he"](1.0)
            for seed, norms in zip(
                study.seeds, gradient_norms(network, init, images, labels, study.seeds), strict=True
            ):
                rows += [
                    {"kind": name, "depth": depth, "seed": seed, "convolution": i + 1, "norm": norm}
                    for i, norm in enumerate(norms)
                ]
    table = study.write("norms", rows)
    deepest = table[table["depth"] == table["depth"].max()]
    draw(study, deepest)
    ratio = {}
    for (kind, seed), one in deepest.groupby(["kind", "seed"]):
        norms = one.sort_values("convolution")["norm"].to_numpy()
        ratio[kind, seed] = float(np.log10(max(norms[1], 1e-38) / max(norms[-1], 1e-38)))
    more = {kind: float(np.mean([ratio[kind, seed] for seed in study.seeds])) for kind in BLOCKS}
    relu, sigmoid = ([ratio[kind, seed] for seed in study.seeds] for kind in ("relu", "sigmoid"))
    statistic = "log10 of gradient norms, second convolution over last, ReLU minus sigmoid"
    return study.paired(statistic, "decades", relu, sigmoid, more)


def gradient_norms(network: Network, init, images, labels, seeds) -> list[list[float]]:
    """For each seed the norms of the gradient of every convolution's kernel, in order."""
    names = [node.name for node in network.walk() if isinstance(node.layer, Conv)]

    @jax.jit
    def norms(key):
        variables = network.init(key, init)

        def loss(params):
            logits, _ = network.apply_train({**variables, "params": params}, images, key=key)
            return losses.cross_entropy(logits, labels).mean()

        gradient = jax.grad(loss)(variables["params"])
        return [jnp.sqrt(jnp.square(gradient[name]["kernel"]).sum()) for name in names]

    return [[float(x) for x in norms(jax.random.key(seed))] for seed in seeds]


def draw(study: Study, table) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plot = figures.subplots(figsize=(4.4, 3.0), layout="constrained")
        for i, (kind, rows) in enumerate(table.groupby("kind", sort=False)):
            middle = rows.groupby("convolution")["norm"].median()
            plot.plot(middle.index, middle, color=figures.COLOURS[i], marker=figures.MARKERS[i], ms=3, label=kind)
        plot.set_yscale("log")
        plot.set_xlabel("conv")
        plot.set_ylabel("‖∂L/∂w‖")
        plot.legend(fontsize=7)
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
