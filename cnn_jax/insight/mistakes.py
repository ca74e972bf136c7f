"""A network's mistakes: confusion matrix, accuracy by class, most confident mistakes, calibration. Computed from
probabilities (n, classes) and labels int (n,) alone."""

from dataclasses import dataclass

import numpy as np

from cnn_jax.statistics import ProportionInterval, binomial_interval

BINS = 15


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The confusion matrix, int (classes, classes): images of class i (rows) classified as j (columns)."""
    classes = probabilities.shape[1]
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, probabilities.argmax(1)), 1)
    return counts


def accuracy_by_class(counts: np.ndarray) -> list[tuple[int, int, ProportionInterval | None]]:
    """For each class of a confusion matrix: the correct images, all images, and Wilson's 95 % interval of the accuracy
    (None for a class without images)."""
    classes = zip(counts.diagonal().tolist(), counts.sum(1).tolist(), strict=True)
    return [(correct, n, binomial_interval(correct, n) if n else None) for correct, n in classes]


def surest_mistakes(probabilities: np.ndarray, labels: np.ndarray, count: int = 25) -> np.ndarray:
    """The indices (at most `count`,) of the misclassified images, the largest probability of a wrong class first."""
    wrong = np.flatnonzero(probabilities.argmax(1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:count]


@dataclass(frozen=True)
class Calibration:
    """The reliability diagram. Bin i has the images whose confidence (the largest probability) lies in
    (i / bins, (i + 1) / bins]; all arrays are (bins,)."""

    counts: np.ndarray  # images in the bin
    confidence: np.ndarray  # their mean confidence, NaN for an empty bin
    accuracy: np.ndarray  # NaN for an empty bin
    error: float  # expected calibration error: mean of |confidence - accuracy| by counts (guo2017calibration, eq. 3)


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Calibration:
    """Calibration over `bins` bins of equal width (guo2017calibration, 2)."""
    confidences, correct = probabilities.max(1).astype(float), probabilities.argmax(1) == labels
    bin_of = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    divisors = np.maximum(counts, 1)
    confidence, accuracy = (np.bincount(bin_of, x, bins) / divisors for x in (confidences, correct.astype(float)))
    error = float((counts * np.abs(confidence - accuracy)).sum() / max(len(labels), 1))
    empty = counts == 0
    return Calibration(counts, np.where(empty, np.nan, confidence), np.where(empty, np.nan, accuracy), error)
