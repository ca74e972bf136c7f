"""Trains one network on one data set.

    scripts/run experiments/train.py --network lenet5 --dataset mnist --data-dir DIR --epochs 20

Hardware: any; the default (digits, 8x8) takes seconds on a laptop. The options are fields of the config, which is
written to the run's folder; --config FILE runs it again.
"""

from cnn_jax.cli import common, train

if __name__ == "__main__":
    common.main(train.command)
