"""Does Adam beat gradient descent with momentum?

The guide: names gradient descent only; modifications of backpropagation are left for later (kingma2015adam;
choi2020empirical).

    scripts/run experiments/guide/optimizer.py --data-dir DIR    # two CPU cores; its verdict says how long

Each arm has its own space of rates, of equal width, and equally many draws from it; momentum and betas are the usual
ones. Expected: little difference once each has its own rate.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question, Space

COMPARISON = Comparison(
    Question("optimizer", "Does Adam beat gradient descent with momentum?"),
    variants={
        "adam": {"optimizer": "adam", "space": Space(1e-4, 3e-2)},
        "momentum": {},
        "sgd": {"momentum": 0.0, "space": Space(1e-2, 3.0)},
    },
    better="adam",
    worse="momentum",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
