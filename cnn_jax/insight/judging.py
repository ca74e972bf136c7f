"""How good an explanation is, for any explainer of any function.

An explainer takes (function, params, images (n, h, w, c), targets) and returns maps (n, h, w, c), as the methods of
`attribution`, `rules`, `cam` and `sampling` do. Every measure returns one number for each image, float64 (n,), unless
it says otherwise. Definitions follow Quantus (hedstrom2023quantus) where it has them; maps are summed over channels to
relevances (n, h, w) first.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax.insight.functions import Function, Targets, selected

Explainer = Callable[[Any, Any, Array, Any], Array]
FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)  # rong2022consistent, of the pixels removed
TINY = 1e-300
HISTOGRAM = 100  # bins of the entropy of a map (hedstrom2024sanity)


def relevances(explainer: Explainer, function: Function, params: Any, images: Array, targets: Targets) -> np.ndarray:
    """The maps of an explainer, summed over their channels: float64 (n, h, w)."""
    return np.asarray(explainer(function, params, images, targets), np.float64).sum(-1)


def _outputs(function: Function, params: Any, images: Any, targets: Targets) -> np.ndarray:
    return np.asarray(_selected(function, params, jnp.asarray(images, jnp.float32), targets), np.float64)


@functools.partial(jax.jit, static_argnames=("function",))
def _selected(function: Function, params: Any, images: Array, targets: Targets) -> Array:
    return selected(function(params, images), targets)


@functools.partial(jax.jit, static_argnames=("function",))
def _predicted(function: Function, params: Any, images: Array) -> Array:
    return function(params, images).argmax(1)


def completeness_gap(
    explainer: Explainer, function: Function, params: Any, images: Array, targets: Targets, baseline: float = 0.0
) -> np.ndarray:
    """The sum of a map minus the difference of the output from that of the baseline image (sundararajan2017axiomatic,
    proposition 1)."""
    found = relevances(explainer, function, params, images, targets).sum((1, 2))
    ends = [_outputs(function, params, x, targets) for x in (images, jnp.full_like(images, baseline))]
    return found - (ends[0] - ends[1])


def max_sensitivity(
    explainer: Explainer, function: Function, params: Any, images: Array, targets: Targets, key: Array,
    radius: float = 0.2, samples: int = 10,
) -> np.ndarray:  # fmt: skip
    """The largest change of the map, relative to its size, over random images within ± `radius` (yeh2019fidelity,
    definition 2.3; relative as in Quantus)."""
    maps = np.asarray(explainer(function, params, images, targets), np.float64)
    size = np.linalg.norm(maps.reshape(len(maps), -1), axis=1)
    worst = np.zeros(len(images))
    for own in jax.random.split(key, samples):
        noise = jax.random.uniform(own, images.shape, images.dtype, -radius, radius)
        moved = np.asarray(explainer(function, params, images + noise, targets), np.float64)
        worst = np.maximum(
            worst, np.linalg.norm((moved - maps).reshape(len(maps), -1), axis=1) / np.maximum(size, TINY)
        )
    return worst


def infidelity(
    explainer: Explainer, function: Function, params: Any, images: Array, targets: Targets, size: int = 4,
    fill: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """The mean, over squares of `size` pixels that are replaced by `fill`, of (the change of the image times the map,
    minus the fall of the output)² (yeh2019fidelity, definition 2.1). Each square alone is replaced; in Quantus those
    before it stay replaced."""
    maps = np.asarray(explainer(function, params, images, targets), np.float64)
    maps = np.broadcast_to(maps, images.shape)
    pixels, before = np.asarray(images, np.float64), _outputs(function, params, images, targets)
    squares = []
    for y in range(0, images.shape[1], size):
        for x in range(0, images.shape[2], size):
            changed = pixels.copy()
            changed[:, y : y + size, x : x + size] = fill
            expected = ((pixels - changed) * maps).sum((1, 2, 3))
            squares.append((expected - (before - _outputs(function, params, changed, targets))) ** 2)
    return np.mean(squares, axis=0)


def pixel_flipping(
    explainer: Explainer, function: Function, params: Any, images: Array, targets: Targets, steps: int = 28,
    fill: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """The output while pixels are replaced by `fill`, the most relevant first (bach2015pixel, "pixel flipping"):
    float64 (steps + 1, n), from none to all. Its mean over steps is the area; lower is better."""
    found = relevances(explainer, function, params, images, targets)
    places = _places(found)
    pixels = np.asarray(images, np.float64)
    counts = np.linspace(0, places[0].size, steps + 1).round()
    return np.stack(
        [_outputs(function, params, np.where((places < count)[..., None], fill, pixels), targets) for count in counts]
    )


def faithfulness_estimate(
    explainer: Explainer, function: Function, params: Any, images: Array, targets: Targets, size: int = 4,
    fill: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """The correlation, over groups of `size` pixels in the order of relevance, of their relevance with the fall of the
    output when they are replaced by `fill` (alvarezmelis2018towards, 5.1.2)."""
    found = relevances(explainer, function, params, images, targets)
    places, pixels = _places(found), np.asarray(images, np.float64)
    before, sums, falls = _outputs(function, params, images, targets), [], []
    for first in range(0, places[0].size, size):
        group = (places >= first) & (places < first + size)
        sums.append((found * group).sum((1, 2)))
        falls.append(before - _outputs(function, params, np.where(group[..., None], fill, pixels), targets))
    centred = [np.asarray(values) - np.mean(values, axis=0) for values in (sums, falls)]
    product, *squares = ((x * y).sum(0) for x, y in (centred, centred[:1] * 2, centred[1:] * 2))
    return product / np.maximum(np.sqrt(squares[0] * squares[1]), TINY)


def _places(values: np.ndarray) -> np.ndarray:
    """The place of each pixel (n, h, w) in the order of falling values; equal ones in reading order."""
    flat = values.reshape(len(values), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(flat.shape[1])[None], axis=1)
    return places.reshape(values.shape)


def road(
    explainer: Explainer, function: Function, params: Any, images: Array, labels: np.ndarray, key: Array,
    fractions: Sequence[float] = FRACTIONS, noise: float = 0.01,
) -> dict[float, float]:  # fmt: skip
    """The accuracy after the share of most relevant pixels was removed and debiased, by share: remove and debias
    (rong2022consistent, 4.2). A removed pixel is the weighted mean of its neighbours, sides 1/6 and corners 1/12, all
    removed ones solved together, plus normal noise; it holds no hint of where it was removed."""
    found = relevances(explainer, function, params, images, jnp.asarray(labels))
    right = right_without(found, function, params, images, labels, key, fractions, noise)
    return dict(zip(fractions, right.mean(1).tolist(), strict=True))


def right_without(
    found: np.ndarray, function: Function, params: Any, images: Array, labels: np.ndarray, key: Array,
    fractions: Sequence[float] = FRACTIONS, noise: float = 0.01,
) -> np.ndarray:  # fmt: skip
    """Whether each image is still classified right when the pixels with the highest relevances (n, h, w) are removed
    and debiased, see `road`: bool (fractions, n)."""
    places, pixels, right = _places(found), np.asarray(images, np.float64), []
    for fraction, own in zip(fractions, jax.random.split(key, len(fractions)), strict=True):
        removed = places < round(fraction * places[0].size)
        filled = np.stack([imputed(x, gone) for x, gone in zip(pixels, removed, strict=True)])
        filled += noise * np.asarray(jax.random.normal(own, images.shape)) * removed[..., None]
        right.append(np.asarray(_predicted(function, params, jnp.asarray(filled, jnp.float32))) == np.asarray(labels))
    return np.stack(right)


SIDES = {(-1, 0): 1 / 6, (1, 0): 1 / 6, (0, -1): 1 / 6, (0, 1): 1 / 6}
CORNERS = {(-1, -1): 1 / 12, (-1, 1): 1 / 12, (1, -1): 1 / 12, (1, 1): 1 / 12}


def imputed(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """An image (h, w, c) whose removed pixels (h, w) are the weighted mean of their neighbours: the solution of one
    linear equation for each of them. At the border the weights of the neighbours that exist are made to sum to 1."""
    from scipy.sparse import identity, linalg

    if not removed.any():
        return image
    if removed.all():
        return np.zeros_like(image)  # nothing is known
    gone = removed.ravel()
    of_removed = _neighbours(*removed.shape)[gone]
    pixels = image.reshape(len(gone), -1)
    system = identity(int(gone.sum()), format="csc") - of_removed[:, gone]
    filled = pixels.copy()
    filled[gone] = linalg.spsolve(system.tocsc(), of_removed[:, ~gone] @ pixels[~gone]).reshape(-1, pixels.shape[1])
    return filled.reshape(image.shape)


@functools.lru_cache(maxsize=8)
def _neighbours(height: int, width: int) -> Any:
    """The matrix (pixels, pixels) of the weights of every pixel's neighbours, whose rows sum to 1."""
    from scipy import sparse

    rows, columns = np.mgrid[:height, :width]
    entries = []
    for (dy, dx), weight in (SIDES | CORNERS).items():
        y, x = rows + dy, columns + dx
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        entries.append(((rows * width + columns)[inside], (y * width + x)[inside], np.full(inside.sum(), weight)))
    own, other, weights = (np.concatenate(values) for values in zip(*entries, strict=True))
    matrix = sparse.csr_matrix((weights, (own, other)), shape=(height * width, height * width))
    return sparse.diags(1 / np.asarray(matrix.sum(1)).ravel()) @ matrix


def pointing_game(found: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Whether the most relevant pixel lies in the mask (zhang2018top, 4.1): bool (n,), of relevances and masks
    (n, h, w)."""
    flat = found.reshape(len(found), -1)
    return masks.reshape(len(masks), -1)[np.arange(len(flat)), flat.argmax(1)].astype(bool)


def relevance_mass(found: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share of positive relevance that lies in the mask (arras2022clevr, 3.3): of relevances and masks (n, h, w);
    NaN without positive relevance."""
    positive = np.maximum(found, 0).reshape(len(found), -1)
    inside = (positive * masks.reshape(len(masks), -1)).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return inside / positive.sum(1)


def relevance_rank(found: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share of the mask's size many most relevant pixels that lie in the mask (arras2022clevr, 3.3)."""
    inside = masks.reshape(len(masks), -1).astype(bool)
    first = _places(found).reshape(len(found), -1) < inside.sum(1)[:, None]
    return (first & inside).sum(1) / np.maximum(inside.sum(1), 1)


def top_intersection(found: np.ndarray, masks: np.ndarray, count: int) -> np.ndarray:
    """The share of the `count` most relevant pixels that lie in the mask."""
    inside = masks.reshape(len(masks), -1).astype(bool)
    return (inside & (_places(found).reshape(len(found), -1) < count)).sum(1) / count


def mask_auc(found: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The area under the receiver operating characteristic of relevance as a score of lying in the mask."""
    from scipy import stats

    inside = masks.reshape(len(masks), -1).astype(bool)
    n = inside.sum(1)
    ranks = stats.rankdata(found.reshape(len(found), -1), axis=1)
    return ((ranks * inside).sum(1) - n * (n + 1) / 2) / (n * (inside.shape[1] - n))


def sparseness(found: np.ndarray) -> np.ndarray:
    """The Gini index of each map's magnitudes: 0 if all pixels have the same, near 1 if few have all
    (chalasani2020concise, 2.2)."""
    values = np.sort(np.abs(found.reshape(len(found), -1)) + 1e-7, axis=1)
    n = values.shape[1]
    return ((2 * np.arange(1, n + 1) - n - 1) * values).sum(1) / (n * values.sum(1))


def complexity(found: np.ndarray) -> np.ndarray:
    """The entropy, in nats, of each map's magnitudes as shares of their sum (bhatt2020evaluating, 3.3)."""
    shares = np.abs(found.reshape(len(found), -1))
    shares = shares / np.maximum(shares.sum(1, keepdims=True), TINY)
    return -(shares * np.log(shares + 1e-12)).sum(1)


def entropy(found: np.ndarray) -> np.ndarray:
    """The entropy, in nats, of the histogram of each map's relevances over its range (hedstrom2024sanity, 3)."""
    values = []
    for one in found.reshape(len(found), -1):
        counts, _ = np.histogram(one, bins=HISTOGRAM)
        shares = counts[counts > 0] / counts.sum()
        values.append(-(shares * np.log(shares)).sum())
    return np.array(values)


def entropy_rise(
    explainer: Explainer, function: Function, params: Any, random: Any, images: Array, targets: Targets
) -> np.ndarray:
    """The relative rise of a map's entropy when all parameters are random: the efficient model parameter randomisation
    test (hedstrom2024sanity, equation 4). An explainer that depends on the parameters has a positive one."""
    before, after = (entropy(relevances(explainer, function, p, images, targets)) for p in (params, random))
    return (after - before) / before
