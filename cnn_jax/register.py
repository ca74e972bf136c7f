"""Registers user-defined parts by name, for use in options, configs, axes and the notation.

The built-in parts are registered with the same functions, next to their definitions.
"""

from cnn_jax.data.load import register_dataset as dataset
from cnn_jax.layers import register_activation as activation
from cnn_jax.layers import register_layer as layer
from cnn_jax.losses import register_loss as loss
from cnn_jax.metrics import register_metric as metric
from cnn_jax.report.loggers import register_logger as logger
from cnn_jax.report.own_figures import register_figure as figure
from cnn_jax.training.augment import register_augmentation as augmentation
from cnn_jax.training.rules import register_optimizer as optimizer
from cnn_jax.training.schedule import register_schedule as schedule
from cnn_jax.zoo import register_network as network

__all__ = [
    "activation", "augmentation", "dataset", "figure", "layer", "logger", "loss", "metric", "network", "optimizer",
    "schedule",
]  # fmt: skip
