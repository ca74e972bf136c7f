"""Which learning rate, and how many filters? Trains every combination with several seeds and tabulates the results.

    scripts/run experiments/sweep.py --learning-rates 0.01 0.1 --filters 4 16 --seeds 6 --dataset digits

Hardware: any; the default (digits, 5 learning rates, 3 filter counts, 5 seeds) takes about a minute on two CPU cores
and writes a folder with summary.md, heatmap.png, curves.png, report.html and best/.
"""

from cnn_jax.cli import common, sweep

if __name__ == "__main__":
    common.main(sweep.command)
