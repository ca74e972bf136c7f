"""Batches of trials of one program. Arrays that differ between trials have a leading axis of trials, over which the
transform of the program maps. A program without a transform has a single trial and no such axis."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

Transform = Literal["vmap", "map"] | None  # vectorised, sequential, or a single trial


def stack(transform: Transform, trees: Sequence[Any]) -> Any:
    """The trees of all trials as one, stacked along the leading axis."""
    if transform is None:
        (tree,) = trees
        return tree
    return jax.tree.map(_stack, *trees)


def _stack(*leaves: Any) -> Any:
    """By NumPy, which need not compile anything; keys have no other form than JAX's."""
    if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
        return jnp.stack(leaves)
    return np.stack([np.asarray(leaf) for leaf in leaves])


def unstack(transform: Transform, tree: Any, trial: int) -> Any:
    """The tree of one trial."""
    return tree if transform is None else _row(tree, trial)


@jax.jit
def _row(tree: Any, trial: ArrayLike) -> Any:
    """In one dispatch: there may be many arrays."""
    return jax.tree.map(lambda leaf: leaf[trial], tree)


def for_each(transform: Transform, function: Callable) -> Callable:
    """Maps a `function` of the arguments of one trial over the stacked arguments of all trials."""
    if transform is None:
        return function
    if transform == "vmap":
        return jax.vmap(function)
    return lambda *trials: jax.lax.map(lambda trial: function(*trial), trials)
