"""Must the error go back through the very weights it came through?

The guide: names modifications of backpropagation among the topics it leaves for later (lillicrap2016random).

    scripts/run experiments/guide/backward.py --data-dir DIR    # two CPU cores; its verdict says how long

Feedback alignment sends the error back through fixed random weights. Expected: feedback alignment learns, but less.
"""

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Question, Space

COMPARISON = Comparison(
    Question("backward", "Must the error go back through the very weights it came through?"),
    variants={
        "gradient": {},
        "feedback": {"backward": "feedback_alignment", "space": Space(1e-4, 3e-2)},
        "sign": {"optimizer": "signsgd", "space": Space(3e-5, 1e-2)},
    },
    better="gradient",
    worse="feedback",
)

if __name__ == "__main__":
    main(COMPARISON.question, COMPARISON, __doc__)
