"""Does keeping the size of the maps make a network robust?

The guide: the layers between the convolutions provide preservation of dimension, which helps robustness.

    scripts/run experiments/guide/preservation.py --data-dir DIR    # two CPU cores; its verdict says how long

Zero padding keeps the size of the maps. The two networks of equal parameters are those of padding.py, trained anew and
shown shifted images as in robustness.py. The statistic is how many points of accuracy a shift by up to two pixels
costs, without padding minus with it. Expected: little difference, since both average over all places in the end.
"""

from robustness import lost_by_shifts

from cnn_jax.cli.study import main
from cnn_jax.study import Comparison, Finding, Question, Study

COMPARISON = Comparison(
    Question("preservation", "Do shifted images cost a network without padding more accuracy?", smallest_effect=1.0),
    variants={
        ":valid": {"network": "conv5-16 relu max2 conv5-32 relu gap dense-10"},
        ":same": {"network": "conv5-16:same relu max2 conv5-32:same relu gap dense-10"},
    },
    better=":valid",
    worse=":same",
)


def investigate(study: Study) -> Finding:
    return lost_by_shifts(study, COMPARISON, "without padding minus with it")


if __name__ == "__main__":
    main(COMPARISON.question, investigate, __doc__)
