"""Where a network errs: confusion, accuracy by class, the mistakes it is surest of, calibration. From probabilities
(n, classes) and labels (n,) alone."""

from dataclasses import dataclass

import numpy as np

from cnn_jax.statistics import ProportionInterval, binomial_interval

BINS = 15


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many images of class i (rows) were called j (columns)."""
    classes = probabilities.shape[1]
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, probabilities.argmax(1)), 1)
    return counts


def accuracy_by_class(counts: np.ndarray) -> list[tuple[int, int, ProportionInterval | None]]:
    """For each class of a confusion matrix the correct ones, how many there are, and Wilson's 95 % interval of their
    share; None for a class without images."""
    found = []
    for right, n in zip(counts.diagonal().tolist(), counts.sum(1).tolist(), strict=True):
        found.append((right, n, binomial_interval(right, n) if n else None))
    return found


def surest_mistakes(probabilities: np.ndarray, labels: np.ndarray, count: int = 25) -> np.ndarray:
    """The positions of the wrongly called images, those first whose wrong class has the largest probability."""
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:count]


@dataclass(frozen=True)
class Calibration:
    """The reliability diagram: images whose confidence (the largest probability) lies in (i / bins, (i + 1) / bins]:
    how many, their mean confidence and their accuracy (NaN for an empty bin). `error` is the expected calibration
    error: the mean distance of the two, weighted by the counts (guo2017calibration, 2, equation 3)."""

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Calibration:
    """With `bins` bins of equal width."""
    confidence, right = probabilities.max(1).astype(float), probabilities.argmax(1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    full = np.maximum(counts, 1)
    sure, correct = (np.bincount(place, values, bins) / full for values in (confidence, right.astype(float)))
    error = float((counts * np.abs(sure - correct)).sum() / max(len(labels), 1))
    empty = counts == 0
    return Calibration(counts, np.where(empty, np.nan, sure), np.where(empty, np.nan, correct), error)
