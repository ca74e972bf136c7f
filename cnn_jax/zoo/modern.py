"""Networks with branches, depthwise convolutions, gates and other norms: from GoogLeNet to ConvNeXt."""

from cnn_jax.errors import RequestError
from cnn_jax.layers import (
    Activation,
    BatchNorm,
    ChannelScale,
    Concatenate,
    Conv,
    Dense,
    Depthwise,
    Dropout,
    DropPath,
    GlobalPool,
    Layer,
    LayerNorm,
    LocalResponseNorm,
    Pool,
    Residual,
    SqueezeExcite,
    Whiten,
)  # fmt: skip
from cnn_jax.ops import Padding
from cnn_jax.zoo.families import RELU, conv_bn

Layers = tuple[Layer, ...]

INCEPTIONS = {  # szegedy2015going, table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection; None is a max pool
    "3": ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    "4": (
        (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128),
    ),
    "5": ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
}  # fmt: skip
MOBILENET_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
MOBILENET_V2 = (  # sandler2018inverted, table 2: expansion, filters, blocks, stride
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
MOBILENET_V3 = {  # howard2019searching, tables 1 and 2: size, expanded, filters, gate, activation, stride
    "large": (
        (3, 16, 16, False, "relu", 1), (3, 64, 24, False, "relu", 2), (3, 72, 24, False, "relu", 1),
        (5, 72, 40, True, "relu", 2), (5, 120, 40, True, "relu", 1), (5, 120, 40, True, "relu", 1),
        (3, 240, 80, False, "hardswish", 2), (3, 200, 80, False, "hardswish", 1), (3, 184, 80, False, "hardswish", 1),
        (3, 184, 80, False, "hardswish", 1), (3, 480, 112, True, "hardswish", 1), (3, 672, 112, True, "hardswish", 1),
        (5, 672, 160, True, "hardswish", 2), (5, 960, 160, True, "hardswish", 1), (5, 960, 160, True, "hardswish", 1),
    ),
    "small": (
        (3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
        (5, 96, 40, True, "hardswish", 2), (5, 240, 40, True, "hardswish", 1), (5, 240, 40, True, "hardswish", 1),
        (5, 120, 48, True, "hardswish", 1), (5, 144, 48, True, "hardswish", 1), (5, 288, 96, True, "hardswish", 2),
        (5, 576, 96, True, "hardswish", 1), (5, 576, 96, True, "hardswish", 1),
    ),
}  # fmt: skip
EFFICIENTNET_B0 = (  # tan2019efficientnet, table 1: expansion, size, stride, filters, blocks
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)  # fmt: skip
DENSE_BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}
CONVNEXT = {"tiny": ((3, 3, 9, 3), 96), "small": ((3, 3, 27, 3), 96), "base": ((3, 3, 27, 3), 128)}
BRANCH_EPSILON = 1e-3  # of the batch norms of Inception-v3 and MobileNet-v3


def googlenet(classes: int = 1000) -> Layers:
    """szegedy2015going, table 1, without the two auxiliary classifiers."""

    def conv(features: int, size: int, stride: int = 1) -> Layers:
        return Conv(features, size, stride, padding=size // 2), RELU

    def module(one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int) -> Layer:
        return Concatenate((
            conv(one, 1), (*conv(reduce3, 1), *conv(three, 3)), (*conv(reduce5, 1), *conv(five, 5)),
            (Pool("max", 3, 1, padding=1), *conv(pool, 1)),
        ))  # fmt: skip

    pool = Pool("max", 3, 2, ceil=True)
    stem = (*conv(64, 7, 2), pool, LocalResponseNorm(5), *conv(64, 1), *conv(192, 3), LocalResponseNorm(5))
    stages = [(pool, *(module(*numbers) for numbers in stage)) for stage in INCEPTIONS.values()]
    return (*stem, *sum(stages, ()), GlobalPool(), Dropout(0.4), Dense(classes))


def inception_v3(classes: int = 1000) -> Layers:
    """szegedy2016rethinking, 6, as in torchvision, without the auxiliary classifier; for images of 299x299."""

    def conv(features: int, rows: int, columns: int | None = None, stride: int = 1, pad: bool = True) -> Layers:
        padding: Padding = "same" if pad and (rows, columns) != (1, None) else "valid"
        kernel = Conv(features, rows, stride, padding=padding, bias=False, columns=columns)
        return kernel, BatchNorm(epsilon=BRANCH_EPSILON), RELU

    average = Pool("avg", 3, 1, padding=1)

    def first(pool: int) -> Layer:
        three = (*conv(64, 1), *conv(96, 3), *conv(96, 3))
        return Concatenate((conv(64, 1), (*conv(48, 1), *conv(64, 5)), three, (average, *conv(pool, 1))))

    def second(c: int) -> Layer:
        once = (*conv(c, 1), *conv(c, 1, 7), *conv(192, 7, 1))
        twice = (*conv(c, 1), *conv(c, 7, 1), *conv(c, 1, 7), *conv(c, 7, 1), *conv(192, 1, 7))
        return Concatenate((conv(192, 1), once, twice, (average, *conv(192, 1))))

    def third() -> Layer:
        both = Concatenate((conv(384, 1, 3), conv(384, 3, 1)))
        twice = (*conv(448, 1), *conv(384, 3), both)
        return Concatenate((conv(320, 1), (*conv(384, 1), both), twice, (average, *conv(192, 1))))

    def smaller(*branches: Layers) -> Layer:
        return Concatenate((*branches, (Pool("max", 3, 2),)))

    def strided(features: int) -> Layers:
        return conv(features, 3, stride=2, pad=False)

    stem = (*strided(32), *conv(32, 3, pad=False), *conv(64, 3), Pool("max", 3, 2))
    stem += (*conv(80, 1), *conv(192, 3, pad=False), Pool("max", 3, 2))
    to_17 = smaller(strided(384), (*conv(64, 1), *conv(96, 3), *strided(96)))
    seven = (*conv(192, 1), *conv(192, 1, 7), *conv(192, 7, 1), *strided(192))
    to_8 = smaller((*conv(192, 1), *strided(320)), seven)
    middle = tuple(map(second, (128, 160, 160, 192)))
    body = (first(32), first(64), first(64), to_17, *middle, to_8, third(), third())
    return (*stem, *body, GlobalPool(), Dropout(0.5), Dense(classes))


def densenet(depth: int = 121, growth: int = 32, classes: int = 1000) -> Layers:
    """huang2017densely, table 1: bottlenecks and compression by 1/2."""
    if depth not in DENSE_BLOCKS:
        raise RequestError(f"DenseNet of depth {depth} is unknown; depths are {', '.join(map(str, DENSE_BLOCKS))}")
    channels = 2 * growth
    layers: list[Layer] = [*conv_bn(channels, 7, 2), RELU, Pool("max", 3, 2, padding=1)]
    for stage, count in enumerate(DENSE_BLOCKS[depth]):
        if stage:
            channels //= 2
            layers += [BatchNorm(), RELU, Conv(channels, 1, bias=False), Pool("avg", 2)]
        bottleneck = (BatchNorm(), RELU, *conv_bn(4 * growth, 1), RELU, Conv(growth, 3, padding=1, bias=False))
        layers += [Concatenate(((), bottleneck))] * count
        channels += count * growth
    return (*layers, BatchNorm(), RELU, GlobalPool(), Dense(classes))


def mobilenet_v1(classes: int = 1000) -> Layers:
    """howard2017mobilenets, table 1."""
    layers: list[Layer] = [*conv_bn(32, 3, 2), RELU]
    for features, stride in MOBILENET_V1:
        depthwise = Depthwise(3, stride, padding=1, bias=False)
        layers += [depthwise, BatchNorm(), RELU, *conv_bn(features, 1), RELU]
    return (*layers, GlobalPool(), Dense(classes))


def mobilenet_v2(classes: int = 1000, stem_stride: int = 2) -> Layers:
    """sandler2018inverted, table 2; dropout 0.2 as in torchvision. `stem_stride` 1 is for small images."""
    relu6 = Activation("relu6")
    layers: list[Layer] = [*conv_bn(32, 3, stem_stride), relu6]
    channels = 32
    for expansion, features, count, stride in MOBILENET_V2:
        for block in range(count):
            by = stride if block == 0 else 1
            inner = _inverted(channels, expansion * channels, features, 3, by, (relu6,), (), BatchNorm())
            layers += _with_shortcut(inner, channels == features and by == 1)
            channels = features
    return (*layers, *conv_bn(1280, 1), relu6, GlobalPool(), Dropout(0.2), Dense(classes))


def mobilenet_v3(size: str = "large", classes: int = 1000) -> Layers:
    """howard2019searching, tables 1 and 2, as in torchvision."""
    if size not in MOBILENET_V3:
        raise RequestError(f"MobileNet-v3 {size!r} is unknown; sizes are {', '.join(MOBILENET_V3)}")
    norm, hardswish = BatchNorm(momentum=0.99, epsilon=BRANCH_EPSILON), Activation("hardswish")
    layers: list[Layer] = [Conv(16, 3, 2, padding=1, bias=False), norm, hardswish]
    channels = 16
    for kernel, expanded, features, gated, activation, stride in MOBILENET_V3[size]:
        gate = (SqueezeExcite(_divisible(expanded / 4), gate="hardsigmoid"),) if gated else ()
        inner = _inverted(channels, expanded, features, kernel, stride, (Activation(activation),), gate, norm)
        layers += _with_shortcut(inner, channels == features and stride == 1)
        channels = features
    last = (Conv(6 * channels, 1, bias=False), norm, hardswish, GlobalPool())
    return (*layers, *last, Dense(1280 if size == "large" else 1024), hardswish, Dropout(0.2), Dense(classes))


def efficientnet_b0(classes: int = 1000, stem_stride: int = 2) -> Layers:
    """tan2019efficientnet, table 1, with stochastic depth up to 0.2. `stem_stride` 1 is for small images."""
    silu = Activation("silu")
    layers: list[Layer] = [*conv_bn(32, 3, stem_stride), silu]
    channels, number, total = 32, 0, sum(stage[-1] for stage in EFFICIENTNET_B0)
    for expansion, kernel, stride, features, count in EFFICIENTNET_B0:
        for block in range(count):
            by = stride if block == 0 else 1
            gate = (SqueezeExcite(max(1, channels // 4), "silu"),)
            inner = _inverted(channels, expansion * channels, features, kernel, by, (silu,), gate, BatchNorm())
            if channels == features and by == 1:
                layers += _with_shortcut((*inner, DropPath(0.2 * number / total)), True)
            else:
                layers += inner
            channels, number = features, number + 1
    return (*layers, *conv_bn(1280, 1), silu, GlobalPool(), Dropout(0.2), Dense(classes))


def convnext(size: str = "tiny", classes: int = 1000, patch: int = 4) -> Layers:
    """liu2022convnet, table 9, with stochastic depth up to 0.1; `patch` is the size and stride of the stem."""
    if size not in CONVNEXT:
        raise RequestError(f"ConvNeXt {size!r} is unknown; sizes are {', '.join(CONVNEXT)}")
    counts, width = CONVNEXT[size]
    layers: list[Layer] = [Conv(width, patch, patch), LayerNorm()]
    number, total = 0, sum(counts)
    for stage, count in enumerate(counts):
        features = width * 2**stage
        if stage:
            layers += [LayerNorm(), Conv(features, 2, 2)]
        for _ in range(count):
            wide = (Conv(4 * features, 1), Activation("gelu"), Conv(features, 1), ChannelScale(1e-6))
            drop = DropPath(0.1 * number / (total - 1))
            layers.append(Residual((Depthwise(7, padding=3), LayerNorm(), *wide, drop)))
            number += 1
    return (*layers, GlobalPool(), LayerNorm(), Dense(classes))


def airbench94(classes: int = 10) -> Layers:
    """jordan2024airbench, 3, as in its implementation with Muon (airbench94_muon). The factor on the logits is that of
    the implementation, 1 / 256, for weights of He's variance instead of 1."""
    norm, gelu = BatchNorm(momentum=0.6, epsilon=1e-12, scale=False), Activation("gelu")
    layers: list[Layer] = [Whiten(2), gelu]
    for features in (64, 256, 256):
        conv = Conv(features, 3, padding="same", bias=False)
        layers += [conv, Pool("max", 2), norm, gelu, conv, norm, gelu]
    return (*layers, Pool("max", 3), Dense(classes, bias=False, scale=AIRBENCH_SCALE))


AIRBENCH_SCALE = 512**-0.5  # 1 / 256 divided by the standard deviation of He's weights for 256 inputs


def _inverted(
    channels: int,
    expanded: int,
    features: int,
    size: int,
    stride: int,
    activation: Layers,
    gate: Layers,
    norm: Layer,
) -> Layers:
    """An inverted bottleneck (sandler2018inverted, 3.3): 1x1 to `expanded` channels unless there are as many,
    depthwise, gate, 1x1 to `features`."""
    widen = () if expanded == channels else (Conv(expanded, 1, bias=False), norm, *activation)
    depthwise = (Depthwise(size, stride, padding=size // 2, bias=False), norm, *activation)
    return (*widen, *depthwise, *gate, Conv(features, 1, bias=False), norm)


def _with_shortcut(body: Layers, shortcut: bool) -> Layers:
    return (Residual(body),) if shortcut else body


def _divisible(channels: float, by: int = 8) -> int:
    """The nearest multiple of 8, not less than 90 % of `channels` (howard2019searching, in its implementation)."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded
