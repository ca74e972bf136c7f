"""Must the error go back through the very weights it came through?

The guide: the backward pass finds how much each weight contributed; modifications of it are left for later.

    scripts/run experiments/guide/backward.py --data-dir DIR    # two CPU cores, about a minute

Expected: the gradient beats fixed random feedback weights (lillicrap2016random) by points, n = 8; its sign
(bernstein2018signsgd) and noise on it (neelakantan2015adding) cost little.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question

COMPARISON = Comparison(
    Question("backward", "Must the error go back through the very weights it came through?"),
    variants={
        "gradient": {},
        "feedback": {"backward": "feedback_alignment", "learning_rates": (0.0003, 0.001)},
        "sign": {"optimizer": "signsgd", "learning_rates": (0.0003, 0.001)},
        "noise": {"gradient_noise": 0.001},
    },
    better="gradient",
    worse="feedback",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
