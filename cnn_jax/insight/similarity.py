"""How alike two representations are: centred kernel alignment, between layers, networks, or times of training."""

from collections.abc import Mapping

import numpy as np


def cka(a: np.ndarray, b: np.ndarray) -> float:
    """Linear centred kernel alignment of two outputs (n, …) for the same n images (kornblith2019similarity, 3), with
    the unbiased estimate of the independence criterion (song2012feature, theorem 3), which does not grow with the
    number of features: 1 for the same up to rotation and scale, around 0 for independent ones. Needs n ≥ 4; NaN if one
    is constant."""
    grams = [_centred(x) for x in (a, b)]
    both, first, second = ((x * y).sum() for x, y in ((grams[0], grams[1]), (grams[0],) * 2, (grams[1],) * 2))
    scale = np.sqrt(max(first, 0.0) * max(second, 0.0))
    return float(both / scale) if scale > 0 else float("nan")


def _centred(features: np.ndarray) -> np.ndarray:
    """The Gram matrix of features (n, …), without its diagonal, centred so that its product with another is an unbiased
    estimate (szekely2014partial, 3.1)."""
    n = len(features)
    if n < 4:
        raise ValueError(f"{n} images are fewer than the 4 that an unbiased estimate needs")
    flat = np.asarray(features, np.float64).reshape(n, -1)
    flat = flat - flat.mean(0)  # the result is the same, with less rounding
    gram = flat @ flat.T
    np.fill_diagonal(gram, 0.0)
    means = gram.sum(0) / (n - 2)
    centred = gram - means[:, None] - means[None] + gram.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0.0)
    return centred


def between_layers(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> np.ndarray:
    """The alignment (layers of a, layers of b) of every two layers of one or two networks, given their outputs."""
    return np.array([[cka(x, y) for y in b.values()] for x in a.values()])
