"""Do shortcuts make a deep network better?

The guide: networks may have other architectures than a stack; that is left for later (he2016deep).

    scripts/run experiments/guide/architecture.py --data-dir DIR    # two CPU cores; its verdict says how long

Networks of 56 layers, plain and with residual blocks, with batch norm, a quarter as wide as published. Expected: the
residual one is better by some points.
"""

from depth import plain, residual

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("architecture", "Do shortcuts make a deep network better?"),
    variants={"residual": {"network": residual(56)}, "plain": {"network": plain(56)}},
    better="residual",
    worse="plain",
    base={"epochs": 10, "batch_size": 64},
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
