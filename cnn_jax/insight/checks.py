"""Whether an explanation explains: sensitivity to the weights (adebayo2018sanity), deletion and insertion of pixels
(petsiuk2018rise)."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.insight.attribution import Method
from cnn_jax.insight.synthesis import blurred
from cnn_jax.network import Network, Variables
from cnn_jax.statistics import Paired, paired_t

# Methods whose sign says for or against the class. Of the others, which show sensitivity, the magnitude counts.
SIGNED = ("gradient x input", "integrated gradients", "occlusion", "Grad-CAM")
SAME = 0.5  # a mean rank correlation above which a map is said not to depend on the weights; fixed before any was seen
FRACTIONS = 28  # steps in which pixels are taken away or put back
RANDOM_ORDERS = 5
BLUR = 2.5  # pixels, of the image that insertion starts from; half of the paper's for images of a seventh of the size


def randomised(network: Network, variables: Variables, key: Array) -> Iterator[tuple[str, Variables]]:
    """The variables with the layers drawn anew one after the other from the top down, and the name of the layer drawn
    last (cascading randomisation: adebayo2018sanity, 3.1)."""
    fresh = network.init(key)
    current = {collection: dict(layers) for collection, layers in variables.items()}
    names = [part.name for node in network.walk() for part in node.parts if part.name in variables["params"]]
    for name in reversed(names):
        for collection, layers in current.items():
            if name in layers:
                layers[name] = fresh[collection][name]
        yield name, {collection: dict(layers) for collection, layers in current.items()}


def importance(name: str, maps: np.ndarray) -> np.ndarray:
    """How much each pixel of maps (n, h, w, c) counts, (n, h, w): the sum over colours, of magnitudes where the method
    has no sign."""
    return maps.sum(-1) if name in SIGNED else np.abs(maps).sum(-1)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of the magnitudes of two maps of each image, (n,); equal values share their mean
    rank. A map without any difference in it correlates with nothing: 0."""
    from scipy import stats  # which takes a second to import

    ranks = [stats.rankdata(np.abs(x).reshape(len(x), -1), axis=1) for x in (a, b)]
    centred = [rank - rank.mean(1, keepdims=True) for rank in ranks]
    lengths = np.prod([np.sqrt(np.square(x).sum(1)) for x in centred], axis=0)
    products = (centred[0] * centred[1]).sum(1)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), 0.0)


@functools.partial(jax.jit, static_argnames=("network", "insert"))
def area(network: Network, variables: Variables, images: Array, classes: Array, order: Array, insert: bool) -> Array:
    """The area under the probability of each image's class, (n,), while its pixels are taken away in `order` (the mean
    image behind them), or with `insert` put back on a blurred image (petsiuk2018rise, 3.2). `order` int (n, h, w)
    is the rank of each pixel, 0 first."""
    hidden = blurred(images, BLUR) if insert else jnp.zeros_like(images)
    begin, end = (hidden, images) if insert else (images, hidden)
    pixels = order.shape[1] * order.shape[2]
    counts = np.linspace(0, pixels, FRACTIONS + 1).round().astype(np.int32)

    def probability(count: Array) -> Array:
        shown = jnp.where((order < count)[..., None], end, begin)
        chances = jax.nn.softmax(network.apply(variables, shown))
        return jnp.take_along_axis(chances, classes[:, None], axis=1)[:, 0]

    curve = lax.map(probability, jnp.asarray(counts), batch_size=4)
    widths = jnp.asarray(np.diff(counts) / pixels, curve.dtype)[:, None]
    return (widths * (curve[1:] + curve[:-1]) / 2).sum(0)


def ranks(values: np.ndarray) -> np.ndarray:
    """The place of each pixel when the most important come first, int (n, h, w)."""
    flat = values.reshape(len(values), -1)
    places = np.argsort(np.argsort(-flat, axis=1, kind="stable"), axis=1, kind="stable")
    return places.reshape(values.shape).astype(np.int32)


@dataclass(frozen=True)
class SanityCheck:
    """What a method's maps of n images say of themselves.

    `cascade`: the layers drawn anew one after the other, and the mean rank correlation with the true map then; the last
    is with all of them random. `correlation` is that one, with its 95 % interval over images in `span`. `deletion` and
    `insertion` are the mean areas; the paired differences are those to a random order of the same image's pixels. One
    image says nothing about others: its intervals are all that is possible, from -1 to 1.
    """

    method: str
    n: int
    cascade: tuple[tuple[str, float], ...]
    correlation: float
    span: tuple[float, float]
    deletion: float
    insertion: float
    against_random: tuple[Paired, Paired]  # deletion, insertion

    @property
    def depends_on_weights(self) -> bool:
        return self.correlation <= SAME

    @property
    def faithful(self) -> tuple[bool, bool]:
        """Whether the areas of deletion and insertion are better than those of a random order."""
        deletion, insertion = self.against_random
        return deletion.high < 0, insertion.low > 0

    def words(self) -> str:
        """The verdict, as a reader needs it."""
        parts = []
        if self.depends_on_weights:
            parts.append(f"depends on the weights (rank correlation {self.correlation:.2f} with random ones)")
        else:
            parts.append(
                f"FAILS the randomisation check: with all weights random its map ranks the pixels almost the same way "
                f"(rank correlation {self.correlation:.2f} > {SAME}); it shows the image more than the network"
            )
        areas = (("deletion", self.deletion), ("insertion", self.insertion))
        for (name, value), good, pair in zip(areas, self.faithful, self.against_random, strict=True):
            than = "better than" if good else "NOT better than" if self.n > 1 else "which one image cannot compare with"
            parts.append(f"{name} area {value:.2f}, {than} a random order ({pair.difference:+.2f})")
        return "; ".join(parts) + "."


def examine(
    network: Network, variables: Variables, images: Array, classes: Array, methods: dict[str, Method], key: Array,
    depths: int = 4,
) -> list[SanityCheck]:  # fmt: skip
    """A stamp for every method over the same images (n, h, w, c). `depths` points of the cascade are looked at, evenly
    spaced, the first layer drawn and all of them among these."""
    random_key, order_key = jax.random.split(key)
    cascade = list(randomised(network, variables, random_key))
    chosen = sorted({round(i) for i in np.linspace(0, len(cascade) - 1, min(depths, len(cascade)))})
    shape = images.shape[:3]
    drawn = [np.asarray(jax.random.uniform(key, shape)) for key in jax.random.split(order_key, RANDOM_ORDERS)]
    by_chance = [
        np.mean([_area(network, variables, images, classes, ranks(one), insert) for one in drawn], axis=0)
        for insert in (False, True)
    ]
    return [
        _stamp(network, variables, images, classes, name, method, [cascade[i] for i in chosen], by_chance)
        for name, method in methods.items()
    ]


def _stamp(
    network: Network, variables: Variables, images: Array, classes: Array, name: str, method: Method,
    cascade: Sequence[tuple[str, Variables]], by_chance: Sequence[np.ndarray],
) -> SanityCheck:  # fmt: skip
    maps = importance(name, np.asarray(method(network, variables, images, classes)))
    points, last = [], np.zeros(len(images))
    for layer, others in cascade:
        last = rank_correlation(maps, importance(name, np.asarray(method(network, others, images, classes))))
        points.append((layer, float(last.mean())))
    areas = [_area(network, variables, images, classes, ranks(maps), insert) for insert in (False, True)]
    pairs = [_over_images(ours, chance) for ours, chance in zip(areas, by_chance, strict=True)]
    over = _over_images(last, np.zeros(len(last)))
    return SanityCheck(
        name, len(images), tuple(points), float(last.mean()), (over.low, over.high), float(areas[0].mean()),
        float(areas[1].mean()), (pairs[0], pairs[1]),
    )  # fmt: skip


def _over_images(a: np.ndarray, b: np.ndarray) -> Paired:
    """Of shares or correlations; of a single image the interval that is certain."""
    if len(a) < 2:
        return Paired(float(a[0] - b[0]), -1.0, 1.0, 1.0, 0.0, 1)
    return paired_t(a.tolist(), b.tolist())


def _area(
    network: Network, variables: Variables, images: Array, classes: Array, order: np.ndarray, insert: bool
) -> np.ndarray:
    return np.asarray(area(network, variables, images, classes, jnp.asarray(order), insert))
