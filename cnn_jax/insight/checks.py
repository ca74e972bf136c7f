"""Sanity checks of attribution methods, for any function: sensitivity to the weights and to the labels
(adebayo2018sanity), deletion and insertion of pixels (petsiuk2018rise)."""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from cnn_jax.insight.attribution import Method
from cnn_jax.insight.functions import Function, Targets, selected
from cnn_jax.network import Network
from cnn_jax.statistics import Paired, paired_t

# Methods whose sign means for or against the class. The others show sensitivity: their magnitude counts.
SIGNED = (
    "gradient x input", "integrated gradients", "occlusion", "Grad-CAM", "HiResCAM", "LayerCAM", "DeepLIFT",
    "relevance propagation", "RISE",
)  # fmt: skip
SAME = 0.5  # above this mean rank correlation a map does not depend on the weights; fixed before looking at any result
STEPS = 28  # in which the pixels are deleted or inserted
RANDOM_ORDERS = 5
BLUR = 2.5  # pixels, of the image that insertion starts from; half the paper's, for images of a seventh of the size

Fresh = Callable[[Array], Any]  # of a key; params of the same structure, all random


def shuffled(params: Any, key: Array) -> Any:
    """Params whose arrays have their elements in a random order: random weights of the same distribution, for a
    function that nothing says how to initialise."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.permutation(k, leaf.ravel()).reshape(leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, drawn)


def layers_of(network: Network) -> tuple[str, ...]:
    """The names of a network's layers with parameters, from the input to the output."""
    return tuple(part.name for node in network.walk() for part in node.parts if part.layer.parameters(part.input))


def randomised(params: Any, fresh: Any, layers: Sequence[str], independent: bool = False) -> Iterator[tuple[str, Any]]:
    """Randomisation of the weights from the output to the input (adebayo2018sanity, 3.1 and 3.2).

    Args:
        params: the trained params, any tree; not modified.
        fresh: random ones of the same structure.
        layers: names from the input to the output. A layer has the arrays in whose path its name occurs, as `conv1` in
            params/conv1/kernel or `layers/0` in layers/0/weight.
        independent: one layer alone is random each time; otherwise every layer above it is too, cascading.

    Yields:
        A layer's name, and the params with it random.
    """
    paths = [f"/{jax.tree_util.keystr(path, simple=True, separator='/')}/" for path, _ in _leaves(params)]
    trained, random = jax.tree.leaves(params), jax.tree.leaves(fresh)
    current, structure = list(trained), jax.tree.structure(params)
    for name in reversed(layers):
        if independent:
            current = list(trained)
        for i, path in enumerate(paths):
            if f"/{name}/" in path:
                current[i] = random[i]
        yield name, jax.tree.unflatten(structure, current)


def _leaves(params: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_flatten_with_path(params)[0]


def importance(name: str, maps: np.ndarray) -> np.ndarray:
    """The importance of each pixel, (n, h, w): the sum over the channels of maps (n, h, w, c), of their magnitudes
    unless the sign has a meaning for the method called `name`."""
    return maps.sum(-1) if name in SIGNED else np.abs(maps).sum(-1)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation (n,) of the magnitudes of two maps of each image, both (n, …); ties get their mean
    rank. 0 if one of the maps is constant."""
    ranked = [np.stack([_mean_ranks(row) for row in np.abs(x).reshape(len(x), -1)]) for x in (a, b)]
    centred = [rank - rank.mean(1, keepdims=True) for rank in ranked]
    lengths = np.prod([np.sqrt(np.square(x).sum(1)) for x in centred], axis=0)
    products = (centred[0] * centred[1]).sum(1)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1.0), 0.0)


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    """As scipy.stats.rankdata, whose import takes two seconds."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1) / 2


@functools.partial(jax.jit, static_argnames=("function", "insert"))
def area(function: Function, params: Any, images: Array, classes: Targets, order: Array, insert: bool) -> Array:
    """The area under the curve of the class probability while an image's pixels are deleted or inserted one after the
    other (petsiuk2018rise, 3.2).

    Args:
        function, params: any function whose outputs are logits.
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
    counts = np.linspace(0, pixels, STEPS + 1).round().astype(np.int32)

    def probability(count: Array) -> Array:
        shown = jnp.where((order < count)[..., None], end, begin)
        return selected(jax.nn.softmax(function(params, shown)), classes)

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
    draws: int  # of random weights, over which correlations are means
    cascade: tuple[tuple[str, float], ...]  # layer randomised last, mean rank correlation with the original map
    independent: tuple[tuple[str, float], ...]  # layer randomised alone, mean rank correlation; empty if not asked for
    correlation: float  # all layers random
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
    function: Any, params: Any, images: Array, classes: Array, methods: Mapping[str, Method], key: Array,
    layers: Sequence[str] | None = None, fresh: Fresh | None = None, depths: int = 4, draws: int = 1,
    independent: bool = False,
) -> list[SanityCheck]:  # fmt: skip
    """Checks every method on the same images.

    Args:
        function, params: a function with logits as its outputs, and its trained params.
        images: (n, h, w, c).
        classes: int (n,), the class explained for each image.
        methods: attribution methods by name, see `attribution.methods`.
        key: of the random weights and the random orders of pixels.
        layers: to be randomised, see `randomised`; of a `Network` all of its own, of another function none, so that
            only the correlation with all of its weights random is found.
        fresh: how random params are made; of a `Network` by its initialisation, of another function by `shuffled`.
        depths: number of evenly spaced layers to randomise, the first and the last among them.
        draws: of random weights.
        independent: whether to randomise each of the layers alone too.

    Returns:
        One `SanityCheck` for each method, in order.
    """
    random_key, order_key = jax.random.split(key)
    if isinstance(function, Network):
        layers, fresh = layers_of(function) if layers is None else layers, fresh or function.init
    layers, fresh = layers or (), fresh or functools.partial(shuffled, params)
    some = {layers[round(i)] for i in np.linspace(0, len(layers) - 1, min(depths, len(layers)))}
    keys = [random_key] if draws == 1 else list(jax.random.split(random_key, draws))
    random = [fresh(own) for own in keys]
    noise = [
        np.asarray(jax.random.uniform(key, images.shape[:3])) for key in jax.random.split(order_key, RANDOM_ORDERS)
    ]
    random_areas = [
        np.mean([_area(function, params, images, classes, ranks(values), insert) for values in noise], axis=0)
        for insert in (False, True)
    ]
    return [
        _Examination(function, params, images, classes, name, method, random, layers, some).check(
            random_areas, independent
        )
        for name, method in methods.items()
    ]


@dataclass(frozen=True)
class _Examination:
    """Of one method."""

    function: Any
    params: Any
    images: Array
    classes: Array
    name: str
    method: Method
    random: Sequence[Any]  # params, one for each draw
    layers: Sequence[str]
    some: Collection[str]  # of the layers, at which the maps are compared

    def check(self, random_areas: Sequence[np.ndarray], independent: bool) -> SanityCheck:
        """`random_areas`: the areas (n,) of deletion and insertion in a random order."""
        maps = self._maps(self.params)
        whole = np.mean([rank_correlation(maps, self._maps(random)) for random in self.random], axis=0)
        cascade = self._correlations(maps, self.layers[1:], independent=False)
        alone = self._correlations(maps, self.layers, independent=True) if independent else ()
        areas = [
            _area(self.function, self.params, self.images, self.classes, ranks(maps), insert)
            for insert in (False, True)
        ]
        differences = [_over_images(ours, chance) for ours, chance in zip(areas, random_areas, strict=True)]
        interval = _over_images(whole, np.zeros(len(whole)))
        return SanityCheck(
            self.name, len(maps), len(self.random), (*cascade, ("all", float(whole.mean()))), alone,
            float(whole.mean()), (interval.low, interval.high), float(areas[0].mean()), float(areas[1].mean()),
            (differences[0], differences[1]),
        )  # fmt: skip

    def _maps(self, params: Any) -> np.ndarray:
        return importance(self.name, np.asarray(self.method(self.function, params, self.images, self.classes)))

    def _correlations(
        self, maps: np.ndarray, layers: Sequence[str], independent: bool
    ) -> tuple[tuple[str, float], ...]:
        """The mean rank correlation by layer, over images and draws."""
        found: dict[str, list[float]] = {}
        for random in self.random:
            for layer, params in randomised(self.params, random, layers, independent):
                if layer not in self.some:
                    continue
                found.setdefault(layer, []).append(float(rank_correlation(maps, self._maps(params)).mean()))
        return tuple((layer, float(np.mean(values))) for layer, values in found.items())


def data_randomisation(
    name: str, method: Method, function: Any, params: Any, on_random_labels: Any, images: Array, classes: Array
) -> np.ndarray:
    """The rank correlation (n,) of a method's maps with those of the same network trained on permuted labels, which it
    has memorised (adebayo2018sanity, 4): near 1 for a method that does not show what was learned."""
    maps = [importance(name, np.asarray(method(function, p, images, classes))) for p in (params, on_random_labels)]
    return rank_correlation(*maps)


def _over_images(a: np.ndarray, b: np.ndarray) -> Paired:
    """The paired difference of areas or correlations; for a single image the trivial interval, -1 to 1."""
    if len(a) < 2:
        return Paired(float(a[0] - b[0]), -1.0, 1.0, 1.0, 0.0, 1)
    return paired_t(a.tolist(), b.tolist())


def _area(function: Any, params: Any, images: Array, classes: Array, order: np.ndarray, insert: bool) -> np.ndarray:
    return np.asarray(area(function, params, images, classes, jnp.asarray(order), insert))
