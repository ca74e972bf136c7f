"""The layers: Flax Linen modules that are also descriptions."""

from cnn_jax.layers.activation import ACTIVATIONS, Activation, LeakyReLU, PReLU, register_activation
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
from cnn_jax.layers.blocks import Block, Concatenate, Residual
from cnn_jax.layers.core import Conv, Dense, Dropout, GlobalPool, Pad, Pool
from cnn_jax.layers.depthwise import Blur, ConvTranspose, Depthwise, Upsample
from cnn_jax.layers.historic import RadialBasis, Subsample
from cnn_jax.layers.norm import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm
from cnn_jax.layers.scaling import ChannelScale, DropPath, Gate, SqueezeExcite
from cnn_jax.layers.whitening import Whiten
from cnn_jax.layers.wrapped import MODULES, Wrapped, is_module, register_layer, register_module, wrap

LAYERS.seal()

__all__ = [
    "ACTIVATIONS", "INITIALISERS", "LAYERS", "MODULES", "MOST_LAYERS", "MOST_NESTED", "Activation",
    "BatchNorm", "Block", "Blur", "ChannelScale", "Concatenate", "Conv", "ConvTranspose", "Dense", "Depthwise",
    "DropPath", "Dropout", "Gate", "GlobalPool", "GroupNorm", "KernelInit", "Layer", "LayerNorm", "LeakyReLU",
    "LocalResponseNorm", "PReLU", "Pad", "Pool", "RadialBasis", "Residual", "Shape", "SqueezeExcite", "Subsample",
    "Upsample", "Whiten", "Windows", "Wrapped", "he", "is_module", "register_activation", "register_layer",
    "register_module", "wrap",
]  # fmt: skip
