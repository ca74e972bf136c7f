"""Are more layers better?

The guide: networks go deeper, and deeper layers have more complex features; depth is left for later (he2016deep).

    scripts/run experiments/guide/depth.py --data-dir DIR    # two CPU cores; its verdict says how long

Plain networks of 20 and 56 layers, with batch norm, as wide as makes them train on a CPU. Expected: no; where nothing
leads past them, 20 layers beat 56.
"""

from cnn_jax import notation
from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question
from cnn_jax.zoo.families import cifar_resnet


def residual(depth: int) -> str:
    """The ResNet of he2016deep, 4.2, a quarter as wide."""
    return notation.format(cifar_resnet(depth, width=4))


def plain(depth: int) -> str:
    """The same without shortcuts."""
    return " ".join(word for word in residual(depth).split() if word not in ("res(", ")", "):padA"))


COMPARISON = Comparison(
    Question("depth", "Are more layers better?"),
    variants={"20": {"network": plain(20)}, "56": {"network": plain(56)}},
    better="56",
    worse="20",
    base={"epochs": 10, "batch_size": 64},
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
