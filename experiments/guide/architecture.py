"""Does a residual network beat a plain one of equal depth and size?

The guide: names network architecture among the topics it leaves for later (he2016deep).

    scripts/run experiments/guide/architecture.py --data-dir DIR    # two CPU cores, about two minutes

Expected: little difference at eleven layers, n = 8.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question


def network(begin: str, end: str) -> str:
    """Eleven layers with weights, in four blocks of two convolutions each."""
    blocks = [" ".join(2 * [f"{begin} conv3-{n}:same bn relu conv3-{n}:same bn {end}"]) for n in (8, 16)]
    return f"conv3-8:same bn relu {blocks[0]} max2 conv3-16:same bn relu {blocks[1]} gap dense-10"


COMPARISON = Comparison(
    Question("architecture", "Does a residual network beat a plain one of equal depth and size?"),
    variants={"residual": {"network": network("res(", ") relu")}, "plain": {"network": network("", "relu")}},
    better="residual",
    worse="plain",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
