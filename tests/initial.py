"""Initial weights for tests that need some, without the compilations of `Network.init`."""

import jax
import jax.numpy as jnp
import numpy as np


def variables_of(network, seed=0):
    """Variables as `network.init` makes them: kernels with He's variance, scales and variances 1, all else 0."""
    random = np.random.default_rng(seed)

    def values(path, leaf):
        name = path[-1].key
        if name == "kernel":
            scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
            return jnp.asarray(random.normal(scale=scale, size=leaf.shape).astype(leaf.dtype))
        return jnp.asarray(np.full(leaf.shape, name in ("scale", "variance"), leaf.dtype))

    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree_util.tree_map_with_path(values, shapes)
