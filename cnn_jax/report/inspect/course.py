"""The curvature of the loss along training, from the checkpoints."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax.data import Split
from cnn_jax.insight import curvature
from cnn_jax.losses import LOSSES, Loss
from cnn_jax.network import Network, Variables
from cnn_jax.report import page, plots
from cnn_jax.report.inspect.figure_writer import FigureWriter
from cnn_jax.report.inspect.inspection import Inspection, affordable, evenly_spaced

SECTION = "Curvature along training"
CHECKPOINTS = 5  # at most, the first and the last among them
BATCHES, BATCH = 16, 16  # images
WORK = 3e9  # multiply-adds of all images: those of larger networks are fewer
PRODUCTS = 20  # of the Hessian with a vector, for its largest eigenvalue


def curvature_along(inspection: Inspection, writer: FigureWriter, split: Split) -> None:
    """The largest eigenvalue of the Hessian, sharpness and the noise of the gradient at checkpoints."""
    network, loss = inspection.network, LOSSES[inspection.trained.config.loss]
    batch = affordable(network, BATCH, WORK / BATCHES, least=2)
    at = evenly_spaced(len(split), BATCHES * batch)
    images, labels = inspection.trained.normalise(split.images[at]), jnp.asarray(split.labels[at])
    count = min(len(inspection.history), CHECKPOINTS)
    shown = [inspection.history[round(i)] for i in np.linspace(0, len(inspection.history) - 1, count)]
    steps = [step for step, _ in shown]
    starts = range(0, len(at), batch) if len(at) == BATCHES * batch else ()  # equal batches or none
    rows = []
    for _, variables in shown:
        of_params, params = curvature.loss_of(network, loss, variables, images, labels), variables["params"]
        [largest] = curvature.top_eigenvalues(of_params, params, inspection.key(8), 1, PRODUCTS)
        sharp = [float(curvature.sharpness(of_params, params, adaptive=adaptive)) for adaptive in (False, True)]
        gradients = [_gradient(network, loss, variables, images[i : i + batch], labels[i : i + batch]) for i in starts]
        noise = curvature.gradient_noise(gradients, batch).scale if gradients else np.nan
        rows.append((float(largest), *sharp, noise))
    eigenvalues, sharpness, adaptive, noise_scale = np.transpose(rows)
    writer.find(
        SECTION, f"The largest eigenvalue of the Hessian goes from {eigenvalues[0]:.3g} to {eigenvalues[-1]:.3g} "
        f"over {page.count(count, 'checkpoint')}, the sharpness from {sharpness[0]:.2g} to "
        f"{sharpness[-1]:.2g}.",
        f"On {len(at)} validation images, without augmentation; sharpness depends on the scale of the weights, its "
        "adaptive form less so.",
    )  # fmt: skip
    writer.draw(
        SECTION, "curvature", "The loss around the weights along training. Left: the largest eigenvalue of the "
        f"Hessian ({PRODUCTS} steps of Lanczos). Middle: the rise of the loss within a radius of 0.05 (Foret et al. "
        "2021), also measured in units of each weight (Kwon et al. 2021). Right: the batch size at which the noise "
        f"of the gradient equals the gradient, from {BATCHES} batches of {batch} (McCandlish et al. 2018, A.1). "
        f"{len(at)} validation images, one network.",
        lambda: plots.curvature(steps, eigenvalues, sharpness, adaptive, noise_scale),
        steps=steps, largest_eigenvalue=eigenvalues, sharpness=sharpness, adaptive_sharpness=adaptive,
        noise_scale=noise_scale,
    )  # fmt: skip


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def _gradient(network: Network, loss: Loss, variables: Variables, images: Array, labels: Array) -> Any:
    return jax.grad(curvature.loss_of(network, loss, variables, images, labels))(variables["params"])
