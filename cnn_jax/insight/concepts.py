"""What a layer knows: linear probes, concept activation vectors with their test, and network dissection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax.insight.cam import enlarged
from cnn_jax.insight.functions import Targets, derivative_at, inner
from cnn_jax.insight.units import batches

PENALTY = 0.01  # of ridge regression, as a share of the features' mean square


def _linear(features: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge regression: weights (d, k) of centred features (n, d) for targets (n, k), in the smaller of its two forms
    (hoerl1970ridge)."""
    n, d = features.shape
    strength = penalty * np.square(features).sum() / min(n, d)
    if n < d:
        return features.T @ np.linalg.solve(features @ features.T + strength * np.eye(n), targets)
    return np.linalg.solve(features.T @ features + strength * np.eye(d), features.T @ targets)


def probe(features: np.ndarray, labels: np.ndarray, penalty: float = PENALTY, folds: int = 2) -> np.ndarray:
    """Whether a linear classifier on a layer, fitted to other examples, names each correctly (alain2017understanding).

    Args:
        features: (n, …), the layer's outputs, which are standardised.
        labels: int (n,).
        penalty: of the ridge regression on the labels' indicators that is the classifier.
        folds: the examples i, i + folds, … are asked after fitting the others.

    Returns:
        bool (n,), whose mean is the probe's accuracy.
    """
    flat = np.asarray(features, np.float64).reshape(len(features), -1)
    flat = (flat - flat.mean(0)) / np.maximum(flat.std(0), 1e-9)
    indicators = np.eye(int(labels.max()) + 1)[labels]
    right = np.zeros(len(labels), bool)
    for fold in range(folds):
        asked = np.arange(len(labels)) % folds == fold
        known, mean = flat[~asked] - flat[~asked].mean(0), indicators[~asked].mean(0)
        found = (flat[asked] - flat[~asked].mean(0)) @ _linear(known, indicators[~asked] - mean, penalty) + mean
        right[asked] = found.argmax(1) == labels[asked]
    return right


def average_precision(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """The average precision of ranking examples by each column of scores (n, units): the mean, over the positive ones,
    of the share of positive ones down to their place."""
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = positive[order]
    at = np.cumsum(hits, axis=0) / np.arange(1, len(hits) + 1)[:, None]
    return (at * hits).sum(0) / positive.sum()


@dataclass(frozen=True)
class ConceptTest:
    """What a concept does for an output (kim2018interpretability).

    Attributes:
      scores: of each set of other images, the share of explained images whose output rises along the concept's vector.
      chance: the same for vectors between two sets of other images.
      p: of Welch's two-sided t test between the two.
      accuracy: of telling the concept from the other images in the layer, on images left out; mean over sets. Near 0.5
        the layer does not know the concept, and the scores mean nothing.
    """

    scores: tuple[float, ...]
    chance: tuple[float, ...]
    p: float
    accuracy: float

    @property
    def score(self) -> float:
        return float(np.mean(self.scores))


def concept_vector(concept: np.ndarray, others: np.ndarray, penalty: float = PENALTY) -> np.ndarray:
    """The unit vector, in a layer's outputs (n, …), from other images to those of a concept: the normal of the plane
    that a linear classifier puts between them (kim2018interpretability, 3.2)."""
    features = np.concatenate([concept, others]).reshape(len(concept) + len(others), -1).astype(np.float64)
    sides = np.repeat([1.0, -1.0], [len(concept), len(others)])[:, None]
    vector = _linear(features - features.mean(0), sides - sides.mean(), penalty)[:, 0]
    return (vector / max(float(np.linalg.norm(vector)), 1e-300)).reshape(concept.shape[1:])


def concept_test(
    function: Any, params: Any, images: Array, targets: Targets, layer: str, concept: Array, others: Sequence[Array]
) -> ConceptTest:
    """Testing with concept activation vectors, TCAV (kim2018interpretability, 3).

    Args:
        function, params: a function with named layers.
        images: (n, h, w, c), those whose output is explained, usually of one class.
        targets: their outputs.
        layer: where the concept is looked for.
        concept: images of the concept (m, h, w, c).
        others: at least three sets of images without it, each like `concept`; more sets make the test stronger.
    """

    def outputs(images: Array) -> np.ndarray:
        return np.concatenate([np.asarray(inner(function, params, b, layer), np.float64) for b in batches(images)])[
            : len(images)
        ]

    slopes = np.asarray(derivative_at(function, params, images, targets, layer)[1], np.float64)
    own, rest = outputs(concept), [outputs(x) for x in others]
    pairs = [(own, other) for other in rest]
    by_chance = [(rest[i], rest[(i + 1) % len(rest)]) for i in range(len(rest))]
    scores, chance = (
        [float(((slopes * concept_vector(*pair)[None]).reshape(len(slopes), -1).sum(1) > 0).mean()) for pair in of]
        for of in (pairs, by_chance)
    )
    labels = np.repeat([1, 0], [len(own), len(rest[0])])
    mixed = np.random.RandomState(0).permutation(len(labels))
    accuracy = [probe(np.concatenate(pair)[mixed], labels[mixed], folds=4).mean() for pair in pairs]
    return ConceptTest(tuple(scores), tuple(chance), _welch(scores, chance), float(np.mean(accuracy)))


def _welch(a: Sequence[float], b: Sequence[float]) -> float:
    """The two-sided p of Welch's t test; of constant values, whether they are the same."""
    from scipy import special

    errors = [np.var(x, ddof=1) / len(x) for x in (a, b)]
    difference, error = abs(np.mean(a) - np.mean(b)), sum(errors)
    if error < 1e-24:
        return float(difference < 1e-12)
    freedom = error**2 / sum(e**2 / (len(x) - 1) for e, x in zip(errors, (a, b), strict=True))
    return float(2 * special.stdtr(freedom, -difference / np.sqrt(error)))


def dissect(maps: Array, masks: Mapping[str, np.ndarray], share: float = 0.005) -> dict[str, np.ndarray]:
    """Network dissection (bau2017network, 2.3): how well the places where each unit is most active are those of a
    concept.

    Args:
        maps: (n, map height, map width, units), a layer's outputs for images of all concepts.
        masks: by concept, where each image shows it: bool (n, height, width).
        share: a unit counts as active where its map, enlarged, is above the value that it exceeds in this share of all
            places.

    Returns:
        By concept the intersection over union (units,), over all images together.
    """
    height, width = next(iter(masks.values())).shape[1:]
    found = np.asarray(enlarged(jnp.asarray(maps, jnp.float32), height, width))
    active = found > np.quantile(found, 1 - share, axis=(0, 1, 2))
    result = {}
    for name, mask in masks.items():
        both = (active & mask[..., None]).sum((0, 1, 2))
        either = (active | mask[..., None]).sum((0, 1, 2))
        result[name] = both / np.maximum(either, 1)
    return result


@dataclass(frozen=True)
class ConceptImages:
    """Images (n, h, w, c) of 0 … 1, each with one concept at a random place on a noisy background, and by concept where
    it is: bool (n, h, w)."""

    images: np.ndarray
    masks: Mapping[str, np.ndarray]


COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "pink": (1, 0.5, 0.75)}


def made_concepts(height: int, width: int, channels: int, key: Array, count: int = 50) -> ConceptImages:
    """`count` images of each concept: gratings of four orientations, colours (if there are three channels) or grey
    levels, textures (checks, dots, noise) and shapes (disc, ring, square, triangle, cross)."""
    side = min(height, width) // 2
    row, column = np.mgrid[:side, :side] / max(side - 1, 1) - 0.5
    everywhere = np.ones((side, side), bool)
    radius = np.hypot(row, column)
    shapes = {
        "disc": radius < 0.45, "ring": (radius < 0.5) & (radius > 0.3),
        "square": np.maximum(abs(row), abs(column)) < 0.4, "triangle": (abs(column) < (row + 0.5) / 2),
        "cross": np.minimum(abs(row), abs(column)) < 0.13,
    }  # fmt: skip
    period = max(side // 4, 2)
    y, x = np.mgrid[:side, :side]
    textures = {"checks": (y // (period // 2) + x // (period // 2)) % 2, "dots": (y % period < 2) & (x % period < 2)}
    painted: dict[str, tuple[np.ndarray, Any]] = {name: (shape, 1.0) for name, shape in shapes.items()}
    for degrees in (0, 45, 90, 135):
        angle = np.deg2rad(degrees)
        wave = 0.5 + 0.5 * np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
        painted[f"grating {degrees}°"] = everywhere, wave[..., None]
    painted |= {name: (everywhere, np.asarray(texture, float)[..., None]) for name, texture in textures.items()}
    if channels == 3:
        painted |= {name: (everywhere, np.array(colour, float)) for name, colour in COLOURS.items()}
    else:
        painted |= {"white": (everywhere, 1.0), "black": (everywhere, 0.0)}
    painted["noise"] = everywhere, None
    total = count * len(painted)
    keys = jax.random.split(key, 3)
    images = np.array(jnp.clip(0.4 + 0.1 * jax.random.normal(keys[0], (total, height, width, channels)), 0, 1))
    places = np.asarray(jax.random.randint(keys[1], (total, 2), 0, jnp.array([[height - side + 1, width - side + 1]])))
    noise = np.asarray(jax.random.uniform(keys[2], (total, side, side, channels)))
    masks = {name: np.zeros((total, height, width), bool) for name in painted}
    for number, (top, left) in enumerate(places):
        name = list(painted)[number % len(painted)]
        mask, paint = painted[name]
        inside = images[number, top : top + side, left : left + side]
        inside[:] = np.where(mask[..., None], noise[number] if paint is None else paint, inside)
        masks[name][number, top : top + side, left : left + side] = mask
    return ConceptImages(images, masks)
