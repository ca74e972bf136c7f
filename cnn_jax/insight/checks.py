"""Sanity checks of attribution methods: sensitivity to the weights (adebayo2018sanity), deletion and insertion of
pixels (petsiuk2018rise)."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.insight.attribution import Method
from cnn_jax.network import Network, Variables
from cnn_jax.statistics import Paired, paired_t

# Methods whose sign means for or against the class. The others show sensitivity: their magnitude counts.
SIGNED = ("gradient x input", "integrated gradients", "occlusion", "Grad-CAM")
SAME = 0.5  # above this mean rank correlation a map does not depend on the weights; fixed before looking at any result
FRACTIONS = 28  # steps in which the pixels are deleted or inserted
RANDOM_ORDERS = 5
BLUR = 2.5  # pixels, of the image that insertion starts from; half the paper's, for images of a seventh of the size


def randomised(network: Network, variables: Variables, key: Array) -> Iterator[tuple[str, Variables]]:
    """Cascading randomisation (adebayo2018sanity, 3.1): yields the variables with one more layer reinitialised each
    time, from the last layer to the first, and that layer's name before them.

    Args:
        network: the network.
        variables: its trained variables; not modified.
        key: of the new initialisation.
    """
    fresh = network.init(key)
    current = {collection: dict(layers) for collection, layers in variables.items()}
    names = [part.name for node in network.walk() for part in node.parts if part.name in variables["params"]]
    for name in reversed(names):
        for collection, layers in current.items():
            if name in layers:
                layers[name] = fresh[collection][name]
        yield name, {collection: dict(layers) for collection, layers in current.items()}


def importance(name: str, maps: np.ndarray) -> np.ndarray:
    """The importance of each pixel, (n, h, w): the sum over the channels of maps (n, h, w, c), of their magnitudes
    unless the sign has a meaning for the method called `name`."""
    return maps.sum(-1) if name in SIGNED else np.abs(maps).sum(-1)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation (n,) of the magnitudes of two maps of each image, both (n, …); ties get their mean
    rank. 0 if one of the maps is constant."""
    from scipy import stats  # takes a second to import

    ranks = [stats.rankdata(np.abs(x).reshape(len(x), -1), axis=1) for x in (a, b)]
    centred = [rank - rank.mean(1, keepdims=True) for rank in ranks]
    lengths = np.prod([np.sqrt(np.square(x).sum(1)) for x in centred], axis=0)
    products = (centred[0] * centred[1]).sum(1)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), 0.0)


@functools.partial(jax.jit, static_argnames=("network", "insert"))
def area(network: Network, variables: Variables, images: Array, classes: Array, order: Array, insert: bool) -> Array:
    """The area under the curve of the class probability while an image's pixels are deleted or inserted one after the
    other (petsiuk2018rise, 3.2).

    Args:
        network, variables: the network and its variables.
        images: (n, h, w, c).
        classes: int (n,), the class whose probability counts.
        order: int (n, h, w), the rank of each pixel; 0 goes first.
        insert: insert pixels into a blurred image; otherwise replace them by zero, the mean image.

    Returns:
        The areas (n,), 0 to 1.
    """
    hidden = blurred(images, BLUR) if insert else jnp.zeros_like(images)
    begin, end = (hidden, images) if insert else (images, hidden)
    pixels = order.shape[1] * order.shape[2]
    counts = np.linspace(0, pixels, FRACTIONS + 1).round().astype(np.int32)

    def probability(count: Array) -> Array:
        shown = jnp.where((order < count)[..., None], end, begin)
        probabilities = jax.nn.softmax(network.apply(variables, shown))
        return jnp.take_along_axis(probabilities, classes[:, None], axis=1)[:, 0]

    curve = lax.map(probability, jnp.asarray(counts), batch_size=4)
    widths = jnp.asarray(np.diff(counts) / pixels, curve.dtype)[:, None]
    return (widths * (curve[1:] + curve[:-1]) / 2).sum(0)


def blurred(images: Array, sigma: float) -> Array:
    """Images (n, h, w, c) blurred with a Gaussian of `sigma` pixels, cut off at 3 sigma; the border is replicated."""
    reach = max(int(np.ceil(3 * sigma)), 1)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        border = [(reach, reach) if i == axis else (0, 0) for i in range(images.ndim)]
        padded = jnp.pad(images, border, mode="edge")
        length = images.shape[axis]
        images = sum(
            float(weight) * lax.slice_in_dim(padded, i, i + length, axis=axis) for i, weight in enumerate(weights)
        )  # type: ignore[assignment]
    return images


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each pixel of (n, h, w), the most important first: int (n, h, w)."""
    flat = values.reshape(len(values), -1)
    places = np.argsort(np.argsort(-flat, axis=1, kind="stable"), axis=1, kind="stable")
    return places.reshape(values.shape).astype(np.int32)


@dataclass(frozen=True)
class SanityCheck:
    """The sanity checks of one method over n images. For a single image the intervals are trivial, -1 to 1."""

    method: str
    n: int
    cascade: tuple[tuple[str, float], ...]  # layer reinitialised last, mean rank correlation with the original map
    correlation: float  # the last of the cascade: all layers random
    span: tuple[float, float]  # its 95 % interval over images
    deletion: float  # mean area
    insertion: float  # mean area
    against_random: tuple[Paired, Paired]  # deletion, insertion: paired difference to a random order of the pixels

    @property
    def depends_on_weights(self) -> bool:
        return self.correlation <= SAME

    @property
    def faithful(self) -> tuple[bool, bool]:
        """Whether the areas of deletion and of insertion are better than with a random order."""
        deletion, insertion = self.against_random
        return deletion.high < 0, insertion.low > 0

    def words(self) -> str:
        """The verdict in one sentence."""
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
    """Checks every method on the same images.

    Args:
        network, variables: the network and its trained variables.
        images: (n, h, w, c).
        classes: int (n,), the class explained for each image.
        methods: attribution methods by name, see `attribution.methods`.
        key: of the random weights and the random orders of pixels.
        depths: number of evenly spaced points of the cascade to evaluate, the first and the last among them.

    Returns:
        One `SanityCheck` for each method, in order.
    """
    random_key, order_key = jax.random.split(key)
    cascade = list(randomised(network, variables, random_key))
    chosen = sorted({round(i) for i in np.linspace(0, len(cascade) - 1, min(depths, len(cascade)))})
    shape = images.shape[:3]
    noise = [np.asarray(jax.random.uniform(key, shape)) for key in jax.random.split(order_key, RANDOM_ORDERS)]
    random_areas = [
        np.mean([_area(network, variables, images, classes, ranks(values), insert) for values in noise], axis=0)
        for insert in (False, True)
    ]
    return [
        _examine_method(network, variables, images, classes, name, method, [cascade[i] for i in chosen], random_areas)
        for name, method in methods.items()
    ]


def _examine_method(
    network: Network, variables: Variables, images: Array, classes: Array, name: str, method: Method,
    cascade: Sequence[tuple[str, Variables]], random_areas: Sequence[np.ndarray],
) -> SanityCheck:  # fmt: skip
    """`random_areas`: the areas (n,) of deletion and insertion in a random order."""
    maps = importance(name, np.asarray(method(network, variables, images, classes)))
    points, correlations = [], np.zeros(len(images))
    for layer, random_variables in cascade:
        random_maps = importance(name, np.asarray(method(network, random_variables, images, classes)))
        correlations = rank_correlation(maps, random_maps)
        points.append((layer, float(correlations.mean())))
    areas = [_area(network, variables, images, classes, ranks(maps), insert) for insert in (False, True)]
    differences = [_over_images(ours, chance) for ours, chance in zip(areas, random_areas, strict=True)]
    interval = _over_images(correlations, np.zeros(len(correlations)))
    return SanityCheck(
        name, len(images), tuple(points), float(correlations.mean()), (interval.low, interval.high),
        float(areas[0].mean()), float(areas[1].mean()), (differences[0], differences[1]),
    )  # fmt: skip


def _over_images(a: np.ndarray, b: np.ndarray) -> Paired:
    """The paired difference of areas or correlations; for a single image the trivial interval, -1 to 1."""
    if len(a) < 2:
        return Paired(float(a[0] - b[0]), -1.0, 1.0, 1.0, 0.0, 1)
    return paired_t(a.tolist(), b.tolist())


def _area(
    network: Network, variables: Variables, images: Array, classes: Array, order: np.ndarray, insert: bool
) -> np.ndarray:
    return np.asarray(area(network, variables, images, classes, jnp.asarray(order), insert))
