"""The layers: Flax Linen modules that are also descriptions."""

from cnn_jax.layers.activation import ACTIVATIONS, Activation, Backward, register_activation
from cnn_jax.layers.base import (
    INITIALISERS,
    LAYERS,
    MOST_LAYERS,
    MOST_NESTED,
    KernelInit,
    Layer,
    Shape,
    Windows,
    he,
)  # fmt: skip
from cnn_jax.layers.blocks import Residual
from cnn_jax.layers.core import Conv, Dense, Dropout, GlobalPool, Pad, Pool
from cnn_jax.layers.historic import RadialBasis, Subsample
from cnn_jax.layers.norm import BatchNorm, LocalResponseNorm
from cnn_jax.layers.wrapped import MODULES, Wrapped, is_module, register_layer, register_module, wrap

LAYERS.seal()

__all__ = [
    "ACTIVATIONS", "INITIALISERS", "LAYERS", "MODULES", "MOST_LAYERS", "MOST_NESTED", "Activation", "Backward",
    "BatchNorm", "Conv", "Dense", "Dropout", "GlobalPool", "KernelInit", "Layer", "LocalResponseNorm", "Pad", "Pool",
    "RadialBasis", "Residual", "Shape", "Subsample", "Windows", "Wrapped", "he", "is_module", "register_activation",
    "register_layer", "register_module", "wrap",
]  # fmt: skip
