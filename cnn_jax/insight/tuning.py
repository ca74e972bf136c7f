"""Orientation tuning: the response of units to gratings, as physiologists measure it (after hubel1962receptive)."""

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
    """Sinusoidal gratings around zero, the same in every channel.

    Args:
        height, width, channels: of the images.
        orientations: degrees of the stripes' normal from the horizontal.
        frequencies: cycles per pixel.
        phases: in cycles, in the middle of the image.
        contrast: amplitude.

    Returns:
        float32 (orientations, frequencies, phases, height, width, channels).
    """
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
    """The response of a layer's units (each channel in the middle of its maps) to gratings.

    A response is the largest activation over phases minus the activation for a blank image, at least zero: for a linear
    unit the amplitude. The last four are NaN for a unit that never responds.
    """

    orientations: np.ndarray  # degrees
    frequencies: np.ndarray  # cycles per pixel
    responses: np.ndarray  # (units, orientations, frequencies)
    curves: np.ndarray  # (units, orientations), the response at the preferred frequency
    preferred: np.ndarray  # (units,), degrees, orientation of the largest response
    frequency: np.ndarray  # (units,), cycles per pixel, of the largest response
    selectivity: np.ndarray  # (units,), 0 for equal responses to all orientations, 1 for a response to only one
    bandwidth: np.ndarray  # (units,), degrees, full width of the curve at half its height


def tuning(
    network: Network, variables: Variables, layers: Sequence[str], orientations: tuple[float, ...] = ORIENTATIONS,
    frequencies: tuple[float, ...] = FREQUENCIES, phases: tuple[float, ...] = PHASES, contrast: float = 1.0,
) -> dict[str, Tuning]:  # fmt: skip
    """Measures the orientation tuning of every unit of some layers.

    Args:
        network, variables: the network and its variables.
        layers: names of the layers.
        orientations, frequencies, phases, contrast: see `gratings`; orientations evenly spaced over 180 degrees.

    Returns:
        A `Tuning` for each layer.
    """
    height, width, channels = network.input_shape
    shown = gratings(height, width, channels, orientations, frequencies, phases, contrast)
    shape, images = shown.shape[:3], shown.reshape(-1, *network.input_shape)
    blank = np.zeros((1, *network.input_shape), np.float32)
    parts = [_middles(network, variables, batch, tuple(layers)) for batch in batches(np.concatenate([images, blank]))]
    by_layer = {}
    for layer in layers:
        activations = np.concatenate([np.asarray(part[layer], np.float64) for part in parts])[: len(images) + 1]
        above_blank = (activations[:-1] - activations[-1]).reshape(*shape, -1)  # (…, frequencies, phases, units)
        responses = np.maximum(above_blank.max(2), 0.0).transpose(2, 0, 1)
        by_layer[layer] = summarised(np.asarray(orientations, float), np.asarray(frequencies, float), responses)
    return by_layer


def summarised(orientations: np.ndarray, frequencies: np.ndarray, responses: np.ndarray) -> Tuning:
    """Summarises responses.

    Args:
        orientations: (orientations,), degrees.
        frequencies: (frequencies,), cycles per pixel.
        responses: (units, orientations, frequencies).

    Returns:
        The tuning with all its measures.
    """
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
    """The orientation selectivity index |Σ R(θ) exp(2iθ)| / Σ R(θ) of curves R (…, orientations) at `orientations` in
    degrees: one minus the circular variance (ringach2002orientation, "Materials and Methods"). NaN for a zero curve."""
    turned = curves @ np.exp(2j * np.deg2rad(orientations))
    total = curves.sum(-1)
    return np.where(total > 0, np.abs(turned) / np.where(total > 0, total, 1.0), np.nan)


def _bandwidth(orientations: np.ndarray, curve: np.ndarray) -> float:
    """Full width at half height around the peak, linearly interpolated; 180 if the curve stays above half height."""
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
    """For each layer the channels in the middle of its maps, (n, units)."""
    outputs = network.activations(variables, images)
    return {layer: middle(outputs[layer]) for layer in layers}
