"""Trains one network on one data set.

    scripts/run experiments/train.py --network lenet5 --dataset mnist --data-dir DIR --epochs 20

Hardware: any; the default (digits, 8x8) takes seconds on a laptop. Every option is a field of the config that is
written into the run's folder; --config FILE runs such a file again.
"""

from cnn_jax.cli import common, train

if __name__ == "__main__":
    common.main(train.command)
