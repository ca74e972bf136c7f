"""Several trials of one program as one: whatever differs between them has a leading axis of trials, over which the
program's transform goes. A program without one has a single trial, and no such axis."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

Transform = Literal["vmap", "map"] | None  # side by side, in turn, or a trial alone


def stack(transform: Transform, trees: Sequence[Any]) -> Any:
    """The trees of all trials as one."""
    if transform is None:
        (tree,) = trees
        return tree
    return jax.tree.map(lambda *leaves: (np if isinstance(leaves[0], np.ndarray) else jnp).stack(leaves), *trees)


def unstack(transform: Transform, tree: Any, trial: int) -> Any:
    """The tree of one trial."""
    return tree if transform is None else jax.tree.map(lambda leaf: leaf[trial], tree)


def for_each(transform: Transform, function: Callable) -> Callable:
    """`function` of one trial's arguments as a function of those of all trials."""
    if transform is None:
        return function
    if transform == "vmap":
        return jax.vmap(function)
    return lambda *trials: jax.lax.map(lambda trial: function(*trial), trials)
