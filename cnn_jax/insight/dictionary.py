"""Sparse autoencoders: a layer's output as a sum of few features out of many (bricken2023towards)."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from cnn_jax.insight.functions import activations_of
from cnn_jax.losses import Loss


class Dictionary(NamedTuple):
    """Features of a layer with d channels.

    Attributes:
      encoder: (d, features).
      bias: (features,).
      decoder: (features, d), the direction of each feature, of length 1.
      centre: (d,), taken away before encoding and added after decoding.
      scale: the mean length of the centred outputs, in which all is measured.
    """

    encoder: Array
    bias: Array
    decoder: Array
    centre: Array
    scale: Array

    def encode(self, outputs: Array) -> Array:
        """The features (…, features) of outputs (…, d)."""
        rows = outputs.reshape(-1, outputs.shape[-1])
        features = jax.nn.relu((rows - self.centre[None]) / self.scale @ self.encoder + self.bias[None])
        return features.reshape(*outputs.shape[:-1], -1)

    def decode(self, features: Array) -> Array:
        """Outputs (…, d) of features (…, features)."""
        rows = features.reshape(-1, features.shape[-1]) @ self.decoder * self.scale + self.centre[None]
        return rows.reshape(*features.shape[:-1], -1)


class Quality(NamedTuple):
    """How good a dictionary is, on outputs that it was not fitted to.

    Attributes:
      explained: the share of the variance of the outputs that the reconstruction has.
      active: the mean number of active features (L0).
      dead: the share of features that are never active.
      recovered: the share of the loss's rise, when the layer is replaced by its mean, that the reconstruction avoids; 1
        if it serves as well as the layer itself.
    """

    explained: float
    active: float
    dead: float
    recovered: float


@functools.partial(jax.jit, static_argnames=("features", "steps", "batch"))
def fit(
    outputs: Array, key: Array, features: int, sparsity: float = 0.1, steps: int = 2000, batch: int = 512,
    rate: float = 3e-3,
) -> Dictionary:  # fmt: skip
    """Fits a sparse autoencoder by Adam: the squared error plus `sparsity` times the sum of the features
    (bricken2023towards, "sparse autoencoder setup").

    Args:
        outputs: (n, d), a layer's outputs; of maps, every place is a row.
        key: of the initial weights and the batches.
        features: how many to find.
        sparsity: a higher one makes fewer features active.
        steps, batch, rate: number of steps, rows in each, and step size, which falls linearly to zero.
    """
    start_key, batch_key = jax.random.split(key)
    centre = outputs.mean(0)
    scale = jnp.maximum(jnp.linalg.norm(outputs - centre[None], axis=1).mean(), 1e-12)
    rows = (outputs - centre[None]) / scale
    decoder = _unit(jax.random.normal(start_key, (features, outputs.shape[1])))
    params = {"encoder": decoder.T, "bias": jnp.zeros(features), "decoder": decoder}
    optimizer = optax.adam(optax.linear_schedule(rate, 0.0, steps))

    def loss(params: dict[str, Array], x: Array) -> Array:
        active = jax.nn.relu(x @ params["encoder"] + params["bias"][None])
        error = jnp.square(active @ _unit(params["decoder"]) - x).sum(1)
        return (error + sparsity * active.sum(1)).mean()

    def step(carry: Any, number: Array) -> tuple[Any, None]:
        params, state = carry
        at = jax.random.randint(jax.random.fold_in(batch_key, number), (batch,), 0, len(rows))
        updates, state = optimizer.update(jax.grad(loss)(params, rows[at]), state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))
    return Dictionary(params["encoder"], params["bias"], _unit(params["decoder"]), centre, scale)


def _unit(vectors: Array) -> Array:
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def quality(
    dictionary: Dictionary, function: Any, params: Any, layer: str, images: Array, labels: Array, loss: Loss
) -> Quality:
    """Judges a dictionary of a layer on images (n, h, w, c) with labels int (n,) and the network's loss."""
    output = activations_of(function)(params, images)[layer]
    features = np.asarray(dictionary.encode(output)).reshape(-1, len(dictionary.bias))
    made = dictionary.decode(dictionary.encode(output))
    axes = tuple(range(output.ndim - 1))
    mean = jnp.broadcast_to(output.mean(axes, keepdims=True), output.shape)

    def loss_with(values: Array) -> float:
        outputs = activations_of(function)(params, images, shifts={layer: values - output})
        return float(loss(list(outputs.values())[-1].reshape(len(images), -1), labels).mean())

    rest, variance = (float(jnp.square(output - other).sum()) for other in (made, mean))
    losses = {name: loss_with(values) for name, values in (("own", output), ("made", made), ("mean", mean))}
    rise = losses["mean"] - losses["own"]
    return Quality(
        explained=1 - rest / variance if variance > 0 else float("nan"),
        active=float((features > 0).sum(1).mean()),
        dead=float((features <= 0).all(0).mean()),
        recovered=(losses["mean"] - losses["made"]) / rise if rise > 0 else float("nan"),
    )
