"""The table of named networks: layers, publication, and the parameter count given there."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from cnn_jax.errors import RequestError, quote, reason
from cnn_jax.layers import Layer, Pad, Shape, Wrapped, is_module, register_module
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.registry import Registry
from cnn_jax.variants import with_classes
from cnn_jax.zoo import families, historic, modern

CLASSES = "-classes"  # placeholder for the number of classes in the notation: dense-classes


@dataclass(frozen=True)
class Entry:
    """A named network with the input shape and the parameter count of its publication.

    `layers` is called with the arguments of a family, such as depth and width, and returns layers or text.
    `source` begins with the publication's key in references.bib if it has one.
    `count_source` is "calc" if the count follows from the layers and no publication states it exactly.
    `pad_28`: pad 28x28 images with a border of 2, for networks designed for digits centred in 32x32.
    """

    layers: Callable[..., Any]
    input_shape: Shape | None
    parameters: int | None
    source: str
    count_source: str = "calc"
    pad_28: bool = False

    def build_layers(self, arguments: dict[str, Any], classes: int = 10) -> tuple[Layer, ...]:
        """The layers for these arguments and number of classes. Raises RequestError for unknown arguments and for any
        exception of `layers`."""
        names = inspect.signature(self.layers).parameters
        closed = not any(p.kind is p.VAR_KEYWORD for p in names.values())
        if closed and (unknown := [name for name in arguments if name not in names]):
            raise RequestError(f"this network has no argument {quote(unknown[0])}; it has {', '.join(names) or 'none'}")
        try:
            layers = self.layers(**arguments)
        except RequestError:
            raise
        except Exception as error:  # of any type, from code that is not ours
            raise RequestError(f"the network with {arguments}: {reason(error)}") from error
        if isinstance(layers, Network):
            return layers.layers
        return parse(layers.replace(CLASSES, f"-{classes}")) if isinstance(layers, str) else tuple(layers)

    def network(self) -> Network:
        """The network as published."""
        if self.input_shape is None:
            raise RequestError("this network has no input of its own: give --input HxWxC")
        return Network(self.input_shape, self.build_layers({}))

    def for_data(self, input_shape: Shape, classes: int, arguments: dict[str, Any]) -> Network:
        """The network for images of `input_shape`; its last layer with parameters gets `classes` units."""
        if "classes" in inspect.signature(self.layers).parameters:
            arguments = {"classes": classes, **arguments}
        layers = self.build_layers(arguments, classes)
        if self.pad_28 and input_shape[:2] == (28, 28):
            layers = (Pad(2), *layers)
        return Network(input_shape, with_classes(layers, classes))


NETWORKS: Registry[Entry] = Registry("network")
N = TypeVar("N")


def register_network(name: str, input_shape: Shape | None = None, source: str = "") -> Callable[[N], N]:
    """Registers a network: a function that returns text or layers, or a module (a Linen class, an NNX class or a pair
    of pure functions, see `layers.Wrapped`). `network_args` of a config are its arguments; an argument called `classes`
    receives the number of classes."""

    def add(network: N) -> N:
        layers: Any = network
        if is_module(network):
            register_module(name)(network)
            names = () if isinstance(network, tuple) else inspect.signature(layers.__init__).parameters
            layers = _wrapped_with_classes(name) if "classes" in names else _wrapped(name)
        NETWORKS.add(name, Entry(layers, input_shape, None, source))
        return network

    return add


def _wrapped(name: str) -> Callable[..., tuple[Layer, ...]]:
    return lambda **arguments: (Wrapped(name, tuple(sorted(arguments.items()))),)


def _wrapped_with_classes(name: str) -> Callable[..., tuple[Layer, ...]]:
    return lambda classes=10, **arguments: _wrapped(name)(classes=classes, **arguments)


def _text(text: str) -> Callable[[], tuple[Layer, ...]]:
    return partial(parse, text)


def _alexnet(filters: tuple[int, ...], size: int, *, groups: bool, pad: bool, norm: bool) -> str:
    """A variant of AlexNet in the notation, with `filters` in its five convolutions and `size` units in its dense
    layers."""
    a, b, c, d, e = filters
    two, lrn = (":g2" if groups else ""), (" lrn5" if norm else "")
    return (
        f"conv11-{a}/4{':pad2' if pad else ''} relu{lrn} max3/2 conv5-{b}:pad2{two} relu{lrn} max3/2 "
        f"conv3-{c}:pad1 relu conv3-{d}:pad1{two} relu conv3-{e}:pad1{two} relu max3/2 "
        f"drop0.5 dense-{size} relu drop0.5 dense-{size} relu dense-1000"
    )


_RNORM = "lrn3:alpha=0.000016666667:k=1"  # there, the factor of the sum is divided by its length
_KRIZHEVSKY = "krizhevsky2012imagenet"
_HE = "he2016deep"
_LECUN_89 = "lecun1989backpropagation"
_LECUN_98 = "lecun1998gradient"

_PUBLISHED: dict[str, Entry] = {
    "guide": Entry(
        _text(
            "conv5-16:same relu conv5-16:same relu max2 relu conv3-32:same relu max2 dense-10"
        ),
        (32, 32, 3), 32_762, "the classic stack of deshpande2016beginner; its filter counts are ours",
    ),
    "lenet1989": Entry(historic.lenet1989, (16, 16, 1), 9_760, _LECUN_89, count_source=_LECUN_89),
    "lenet5": Entry(
        _text("conv5-6 tanh avg2 conv5-16 tanh avg2 conv5-120 tanh dense-84 tanh dense-10"),
        (32, 32, 1), 61_706, f"{_LECUN_98} in its modern form", pad_28=True,
    ),
    "lenet5_1998": Entry(
        historic.lenet5_1998, (32, 32, 1), 60_000, _LECUN_98, count_source=_LECUN_98, pad_28=True,
    ),
    "caffe_lenet": Entry(
        _text("conv5-20 max2 conv5-50 max2 dense-500 relu dense-10"), (28, 28, 1), 431_080, "Caffe, examples/mnist",
    ),
    "keras_mnist": Entry(
        _text("conv3-32 relu conv3-64 relu max2 drop0.25 dense-128 relu drop0.5 dense-10"),
        (28, 28, 1), 1_199_882, "Keras, mnist_cnn; PyTorch, examples/mnist",
    ),
    "cuda_convnet_18": Entry(
        _text(
            f"conv5-32:pad2 max3/2:ceil relu {_RNORM} conv5-32:pad2 relu avg3/2:ceil {_RNORM} conv5-64:pad2 relu "
            "avg3/2:ceil dense-10"
        ),
        (32, 32, 3), 89_578, "cuda-convnet, layers-18pct (krizhevsky2012cuda)",
    ),
    "alexnet": Entry(
        _text(_alexnet((96, 256, 384, 384, 256), 4096, groups=True, pad=False, norm=True)),
        (227, 227, 3), 60_965_224, f"{_KRIZHEVSKY}, two towers as groups",
    ),
    "alexnet_ungrouped": Entry(
        _text(_alexnet((96, 256, 384, 384, 256), 4096, groups=False, pad=False, norm=True)),
        (227, 227, 3), 62_378_344, f"{_KRIZHEVSKY}, one tower",
    ),
    "alexnet_owt": Entry(
        _text(_alexnet((64, 192, 384, 256, 256), 4096, groups=False, pad=True, norm=False)),
        (224, 224, 3), 61_100_840, 'krizhevsky2014weird, "one weird trick"; torchvision', count_source="torchvision",
    ),
    "zfnet": Entry(
        _text(
            "conv7-96/2:pad1 relu max3/2:ceil lrn5 conv5-256/2 relu max3/2:ceil lrn5 conv3-384:pad1 relu "
            "conv3-384:pad1 relu conv3-256:pad1 relu max3/2:ceil dense-4096 relu drop0.5 dense-4096 relu drop0.5 "
            "dense-1000"
        ),
        (224, 224, 3), 62_357_608, "zeiler2014visualizing, figure 3",
    ),
    "nin": Entry(
        _text(
            "conv5-192:pad2 relu conv1-160 relu conv1-96 relu max3/2:ceil drop0.5 conv5-192:pad2 relu conv1-192 relu "
            "conv1-192 relu max3/2:ceil drop0.5 conv3-192:pad1 relu conv1-192 relu conv1-10 relu gap"
        ),
        (32, 32, 3), 966_986, "lin2014network, CIFAR-10",
    ),
    "allcnn": Entry(
        _text(
            "drop0.2 conv3-96:pad1 relu conv3-96:pad1 relu conv3-96/2:pad1 relu drop0.5 conv3-192:pad1 relu "
            "conv3-192:pad1 relu conv3-192/2:pad1 relu drop0.5 conv3-192 relu conv1-192 relu conv1-10 relu gap"
        ),
        (32, 32, 3), 1_369_738, "springenberg2015striving, All-CNN-C",
    ),
    "airbench94": Entry(modern.airbench94, (32, 32, 3), 1_971_352, "jordan2024airbench, the variant with Muon"),
    "googlenet": Entry(modern.googlenet, (224, 224, 3), 6_998_552, "szegedy2015going, without auxiliary classifiers"),
    "inception_v3": Entry(
        modern.inception_v3, (299, 299, 3), 23_834_568, "szegedy2016rethinking, without the auxiliary classifier",
        count_source="torchvision",
    ),
    **{
        f"densenet{depth}": Entry(
            partial(modern.densenet, depth), (224, 224, 3), count, "huang2017densely", count_source="torchvision",
        )
        for depth, count in {121: 7_978_856, 169: 14_149_480, 201: 20_013_928}.items()
    },
    "resnext50": Entry(
        partial(families.resnet, 50, groups=32, group_width=4), (224, 224, 3), 25_028_904,
        "xie2017aggregated, 32 groups of 4", count_source="torchvision",
    ),
    "se_resnet50": Entry(
        partial(families.resnet, 50, squeeze=16), (224, 224, 3), 28_088_024, "hu2018squeeze, table 1",
        count_source="timm",
    ),
    "preact_resnet18": Entry(
        families.preact_resnet18, (32, 32, 3), 11_172_170, "he2016identity, for 32x32 images as liu2017train",
    ),
    "mobilenet_v1": Entry(
        modern.mobilenet_v1, (224, 224, 3), 4_231_976, "howard2017mobilenets", count_source="Keras",
    ),
    "mobilenet_v2": Entry(
        modern.mobilenet_v2, (224, 224, 3), 3_504_872, "sandler2018inverted", count_source="torchvision",
    ),
    **{
        f"mobilenet_v3_{size}": Entry(
            partial(modern.mobilenet_v3, size), (224, 224, 3), count, "howard2019searching",
            count_source="torchvision",
        )
        for size, count in {"small": 2_542_856, "large": 5_483_032}.items()
    },
    "efficientnet_b0": Entry(
        modern.efficientnet_b0, (224, 224, 3), 5_288_548, "tan2019efficientnet", count_source="torchvision",
    ),
    **{
        f"convnext_{size}": Entry(
            partial(modern.convnext, size), (224, 224, 3), count, "liu2022convnet", count_source="torchvision",
        )
        for size, count in {"tiny": 28_589_128, "small": 50_223_688, "base": 88_591_464}.items()
    },
    "cifar_resnet18": Entry(families.cifar_resnet18, (32, 32, 3), 11_173_962, f"{_HE} with a 3x3 stem"),
    **{
        f"vgg{depth}": Entry(
            partial(families.vgg, depth), (224, 224, 3), count, "simonyan2015very", count_source="torchvision",
        )
        for depth, count in {11: 132_863_336, 13: 133_047_848, 16: 138_357_544, 19: 143_667_240}.items()
    },
    "cifar_vgg16": Entry(
        families.cifar_vgg, (32, 32, 3), 14_728_266,
        "simonyan2015very with batch norm, for 32x32 images as liu2017train",
    ),
    **{
        f"resnet{depth}": Entry(
            partial(families.resnet, depth), (224, 224, 3), count, f"{_HE}, table 1; stride on the 3x3 as torchvision",
            count_source="torchvision",
        )
        for depth, count in {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}.items()
    },
    **{
        f"resnet{depth}": Entry(partial(families.cifar_resnet, depth), (32, 32, 3), count, f"{_HE}, 4.2, option A")
        for depth, count in {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}.items()
    },
    **{
        f"wrn{depth}_{widen}": Entry(
            partial(families.wide_resnet, depth, widen), (32, 32, 3), count, "zagoruyko2016wide",
        )
        for (depth, widen), count in {
            (16, 4): 2_748_890, (40, 4): 8_949_210, (16, 8): 10_961_370, (28, 10): 36_479_194,
        }.items()
    },
}  # fmt: skip
FAMILIES: dict[str, Entry] = {
    "vgg": Entry(families.vgg, (224, 224, 3), None, "simonyan2015very"),
    "resnet": Entry(families.resnet, (224, 224, 3), None, _HE),
    "cifar_resnet": Entry(families.cifar_resnet, (32, 32, 3), None, _HE),
    "wide_resnet": Entry(families.wide_resnet, (32, 32, 3), None, "zagoruyko2016wide"),
}
for _name, _entry in (_PUBLISHED | FAMILIES).items():
    NETWORKS.add(_name, _entry)
NETWORKS.seal()
