"""Network families as functions of depth and width: VGG, ResNet for ImageNet and for CIFAR, wide ResNet."""

from typing import Literal

from cnn_jax.errors import RequestError
from cnn_jax.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    GlobalPool,
    Layer,
    Pool,
    Residual,
    SqueezeExcite,
)  # fmt: skip

Layers = tuple[Layer, ...]
RELU = Activation("relu")

VGG_BLOCKS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
RESNET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def vgg(depth: int = 16, width: int = 64, classes: int = 1000) -> Layers:
    """simonyan2015very, table 1, configurations A, B, D and E, with dropout 0.5 between the dense layers."""
    head = (Dense(64 * width), RELU, Dropout(0.5)) * 2
    return (*_vgg_blocks(depth, width, (RELU,)), *head, Dense(classes))


def cifar_vgg(depth: int = 16, width: int = 64, classes: int = 10) -> Layers:
    """The convolutions of `vgg` for 32x32 images, with batch norm after each and one dense layer (liu2017train)."""
    return (*_vgg_blocks(depth, width, (BatchNorm(), RELU)), Dense(classes))


def _vgg_blocks(depth: int, width: int, after: Layers) -> Layers:
    """Five blocks of convolutions, the layers `after` behind each, and a pool. Raises RequestError for an unknown
    depth."""
    if depth not in VGG_BLOCKS:
        raise RequestError(f"VGG of depth {depth} is unknown; depths are {', '.join(map(str, VGG_BLOCKS))}")
    layers: list[Layer] = []
    for i, convolutions in enumerate(VGG_BLOCKS[depth]):
        layers += [Conv(width * 2 ** min(i, 3), 3, padding=1), *after] * convolutions + [Pool("max", 2)]
    return tuple(layers)


def conv_bn(features: int, size: int, stride: int = 1) -> Layers:
    """A convolution with padding size // 2 and without bias, and its batch norm, which makes the bias redundant."""
    return Conv(features, size, stride, padding=size // 2, bias=False), BatchNorm()


def resnet(
    depth: int = 50,
    width: int = 64,
    classes: int = 1000,
    stride_on: Literal["3x3", "first 1x1"] = "3x3",
    groups: int = 1,
    group_width: int = 64,
    squeeze: int | None = None,
) -> Layers:
    """ResNet for ImageNet (he2016deep, table 1). In a bottleneck the published network has the stride in the first 1x1
    convolution, torchvision in the 3x3.

    Args:
      groups: of the 3x3 convolution of a bottleneck (xie2017aggregated), which has groups x group_width filters in the
        first stage.
      squeeze: with it, each block ends in a squeeze-and-excitation with a ratio of `squeeze` (hu2018squeeze).
    """
    if depth not in RESNET_BLOCKS:
        raise RequestError(f"ResNet of depth {depth} is unknown; depths are {', '.join(map(str, RESNET_BLOCKS))}")
    layers: list[Layer] = [*conv_bn(width, 7, 2), RELU, Pool("max", 3, 2, padding=1)]
    for stage, blocks in enumerate(RESNET_BLOCKS[depth]):
        features = width * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            gate = (SqueezeExcite(features * (1 if depth < 50 else 4) // squeeze),) if squeeze else ()
            if depth < 50:
                body: Layers = (*conv_bn(features, 3, stride), RELU, *conv_bn(features, 3), *gate)
                changes = stride > 1
            else:
                first, second = (1, stride) if stride_on == "3x3" else (stride, 1)
                inner = features * group_width // 64 * groups
                three = (Conv(inner, 3, second, padding=1, groups=groups, bias=False), BatchNorm())
                body = (*conv_bn(inner, 1, first), RELU, *three, RELU, *conv_bn(4 * features, 1), *gate)
                changes = not block
            layers += [Residual(body, "proj" if changes else "identity"), RELU]
    return (*layers, GlobalPool(), Dense(classes))


def cifar_resnet(depth: int = 20, width: int = 16, classes: int = 10) -> Layers:
    """ResNet for CIFAR (he2016deep, 4.2): 6n + 2 layers, option A shortcuts."""
    if depth < 8 or depth % 6 != 2:
        raise RequestError(f"a CIFAR ResNet has 6n + 2 layers (8, 14, 20, 32 …), not {depth}")
    layers: list[Layer] = [*conv_bn(width, 3), RELU]
    for stage in range(3):
        features = width * 2**stage
        for block in range(depth // 6):
            stride = 2 if stage and not block else 1
            body = (*conv_bn(features, 3, stride), RELU, *conv_bn(features, 3))
            layers += [Residual(body, "padA" if stride > 1 else "identity"), RELU]
    return (*layers, GlobalPool(), Dense(classes))


def cifar_resnet18(width: int = 64, classes: int = 10) -> Layers:
    """The ImageNet ResNet-18 with a 3x3 stem and no max pool, as commonly used on 32x32 images."""
    return (*conv_bn(width, 3), RELU, *resnet(18, width, classes)[4:])


def preact_resnet18(width: int = 64, classes: int = 10) -> Layers:
    """The ResNet-18 of he2016identity for 32x32 images: batch norm and ReLU before each convolution; if the shape
    changes, the first ones come before the shortcut too, which has no batch norm."""
    layers: list[Layer] = [Conv(width, 3, padding=1, bias=False)]
    for stage in range(4):
        for block in range(2):
            features, stride = width * 2**stage, 2 if stage and not block else 1
            first, second = (Conv(features, 3, s, padding=1, bias=False) for s in (stride, 1))
            inner = (first, BatchNorm(), RELU, second)
            if stride > 1:
                layers += [BatchNorm(), RELU, Residual(inner, "proj")]
            else:
                layers.append(Residual((BatchNorm(), RELU, *inner)))
    return (*layers, BatchNorm(), RELU, GlobalPool(), Dense(classes))


def wide_resnet(depth: int = 28, widen: int = 10, classes: int = 10, dropout: float = 0.0) -> Layers:
    """WRN-depth-widen (zagoruyko2016wide, table 1): pre-activation blocks; if the shape changes, the first batch norm
    and ReLU come before the shortcut too."""
    if depth < 10 or depth % 6 != 4:
        raise RequestError(f"a wide ResNet has 6n + 4 layers (10, 16, 22, 28 …), not {depth}")

    def conv(features: int, stride: int = 1) -> Conv:
        return Conv(features, 3, stride, padding=1, bias=False)

    layers: list[Layer] = [conv(16)]
    for stage in range(3):
        features = 16 * widen * 2**stage
        for block in range(depth // 6):
            stride = 2 if stage and not block else 1
            drop = (Dropout(dropout),) if dropout else ()
            inner = (conv(features, stride), BatchNorm(), RELU, *drop, conv(features))
            if block or (stage == 0 and widen == 1):
                layers.append(Residual((BatchNorm(), RELU, *inner)))
            else:
                layers += [BatchNorm(), RELU, Residual(inner, "proj")]
    return (*layers, BatchNorm(), RELU, GlobalPool(), Dense(classes))
