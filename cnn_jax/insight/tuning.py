"""Orientation tuning: what a physiologist would measure of every unit, with gratings (after hubel1962receptive)."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax import Array

from cnn_jax.insight.units import batches, middle
from cnn_jax.network import Network, Variables

ORIENTATIONS = tuple(np.arange(0, 180, 10).tolist())  # degrees of the stripes' normal from the horizontal
FREQUENCIES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)  # cycles per pixel
PHASES = tuple((np.arange(8) / 8).tolist())  # of a cycle


def gratings(
    height: int, width: int, channels: int, orientations: tuple[float, ...] = ORIENTATIONS,
    frequencies: tuple[float, ...] = FREQUENCIES, phases: tuple[float, ...] = PHASES, contrast: float = 1.0,
) -> np.ndarray:  # fmt: skip
    """Sinusoidal gratings of `contrast` around zero, the same in every channel:
    (orientations, frequencies, phases, height, width, channels). The phase is that in the middle of the image."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - height // 2, x - width // 2
    angle = np.deg2rad(np.asarray(orientations))[:, None, None, None, None]
    frequency = np.asarray(frequencies)[None, :, None, None, None]
    phase = np.asarray(phases)[None, None, :, None, None]
    along = x * np.cos(angle) + y * np.sin(angle)
    wave = contrast * np.cos(2 * np.pi * (frequency * along + phase))
    return np.repeat(wave[..., None], channels, -1).astype(np.float32)


@dataclass(frozen=True)
class Tuning:
    """How the units of a layer (each channel, in the middle of its maps) answer to gratings.

    `curves` (units, orientations): the response at the preferred frequency; `responses` (units, orientations,
    frequencies). A response is the largest over phases above the answer to an empty image, at least zero: for a linear
    unit the amplitude of its answer. `preferred` (units,) in degrees, of the largest response; `frequency` (units,) in
    cycles per pixel; `selectivity` (units,): 0 where all orientations count the same, 1 where only one counts;
    `bandwidth` (units,): full width of the curve at half its height, in degrees. NaN for a unit that never answers.
    """

    orientations: np.ndarray
    frequencies: np.ndarray
    responses: np.ndarray
    curves: np.ndarray
    preferred: np.ndarray
    frequency: np.ndarray
    selectivity: np.ndarray
    bandwidth: np.ndarray


def tuning(
    network: Network, variables: Variables, layers: Sequence[str], orientations: tuple[float, ...] = ORIENTATIONS,
    frequencies: tuple[float, ...] = FREQUENCIES, phases: tuple[float, ...] = PHASES, contrast: float = 1.0,
) -> dict[str, Tuning]:  # fmt: skip
    """Shows gratings to every unit of each of `layers`. `orientations` are evenly spaced over 180 degrees."""
    height, width, channels = network.input_shape
    shown = gratings(height, width, channels, orientations, frequencies, phases, contrast)
    shape, images = shown.shape[:3], shown.reshape(-1, *network.input_shape)
    blank = np.zeros((1, *network.input_shape), np.float32)
    parts = [_middles(network, variables, batch, tuple(layers)) for batch in batches(np.concatenate([images, blank]))]
    found = {}
    for layer in layers:
        answers = np.concatenate([np.asarray(part[layer], np.float64) for part in parts])[: len(images) + 1]
        above = (answers[:-1] - answers[-1]).reshape(*shape, -1)  # (orientations, frequencies, phases, units)
        responses = np.maximum(above.max(2), 0.0).transpose(2, 0, 1)
        found[layer] = summarised(np.asarray(orientations, float), np.asarray(frequencies, float), responses)
    return found


def summarised(orientations: np.ndarray, frequencies: np.ndarray, responses: np.ndarray) -> Tuning:
    """The measures of `responses` (units, orientations, frequencies)."""
    best = responses.max(1).argmax(1)
    curves = np.take_along_axis(responses, best[:, None, None], 2)[..., 0]
    silent = curves.max(1) <= 0
    preferred = np.where(silent, np.nan, orientations[curves.argmax(1)])
    widths = np.array([np.nan if dead else _bandwidth(orientations, curve) for dead, curve in zip(silent, curves)])  # noqa: B905
    return Tuning(
        orientations, frequencies, responses, curves, preferred, np.where(silent, np.nan, frequencies[best]),
        selectivity(orientations, curves), widths,
    )  # fmt: skip


def selectivity(orientations: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """The orientation-selectivity index |Σ R(θ) exp(2iθ)| / Σ R(θ) of curves (…, orientations): one minus the circular
    variance (ringach2002orientation, "Materials and Methods"). NaN where the curve is zero."""
    turned = curves @ np.exp(2j * np.deg2rad(orientations))
    total = curves.sum(-1)
    return np.where(total > 0, np.abs(turned) / np.where(total > 0, total, 1.0), np.nan)


def _bandwidth(orientations: np.ndarray, curve: np.ndarray) -> float:
    """Full width at half height around the peak, linear between orientations; 180 where it never falls so far."""
    n, step = len(curve), 180.0 / len(curve)
    turned = np.roll(curve, n // 2 - int(curve.argmax()))
    peak, half = n // 2, curve.max() / 2
    sides = []
    for side in (turned[peak::-1], np.append(turned[peak:], turned[0])):
        below = np.flatnonzero(side < half)
        if not below.size:
            return 180.0
        i = int(below[0])
        sides.append(step * (i - 1 + (side[i - 1] - half) / (side[i - 1] - side[i])))
    return float(min(sum(sides), 180.0))


@functools.partial(jax.jit, static_argnames=("network", "layers"))
def _middles(network: Network, variables: Variables, images: Array, layers: tuple[str, ...]) -> dict[str, Array]:
    """For each layer its channels in the middle of its maps, (n, units)."""
    found = network.activations(variables, images)
    return {layer: middle(found[layer]) for layer in layers}
