"""Groups of parameters, which may have learning rates and weight decays of their own."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax

from cnn_jax.errors import RequestError, quote
from cnn_jax.layers import BatchNorm, GroupNorm, LayerNorm
from cnn_jax.network import Network

Path = tuple[str, ...]  # of an array within the parameters: its layer first
Groups = tuple[tuple[Path, str], ...]

NAMES = {
    "biases": "all biases, those of norms included",
    "norms": "the scales and biases of batch, layer and group norms",
    "filters": "the kernels of convolutions",
    "head": "the last layer with parameters",
}


def path_of(keys: Iterable[Any]) -> Path:
    """The names on the way to an array."""
    return tuple(str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in keys)


def assign(network: Network, names: Iterable[str], what: str) -> Groups:
    """The arrays of the groups `names`, each with the name of the most special group that it is in: an array's own name
    (conv1/kernel), that of a layer, then head, norms, filters, biases. Raises RequestError, which calls the config
    field `what`, for a name without arrays."""
    names = tuple(names)
    if not names:
        return ()
    params = jax.eval_shape(lambda: network.init(jax.random.key(0)))["params"]
    leaves = [(path_of(keys), leaf) for keys, leaf in jax.tree_util.tree_leaves_with_path(params)]
    candidates = {path: list(_groups_of(network, path, leaf.ndim)) for path, leaf in leaves}
    for name in names:
        if not any(name in groups for groups in candidates.values()):
            layers = ", ".join(dict.fromkeys(path[0] for path in candidates))
            raise RequestError(
                f"{what}: {quote(name)} is no group of parameters of this network; there are {', '.join(NAMES)} and "
                f"its layers {layers}"
            )
    chosen = {path: next((g for g in groups if g in names), None) for path, groups in candidates.items()}
    return tuple((path, group) for path, group in chosen.items() if group is not None)


def _groups_of(network: Network, path: Path, axes: int) -> Iterator[str]:
    """The groups that an array is in, the most special first."""
    parts = {part.name: part.layer for node in network.walk() for part in node.parts if part.parameters}
    yield "/".join(path)
    yield path[0]
    if path[0] == list(parts)[-1]:
        yield "head"
    if isinstance(parts[path[0]], BatchNorm | LayerNorm | GroupNorm):
        yield "norms"
    if axes == 4:
        yield "filters"
    if path[-1].endswith("bias"):
        yield "biases"


def by_group(groups: Groups, function: Any, *trees: Any) -> Any:
    """The first of `trees` with `function(group, leaf, …)` in the place of every leaf in a group."""
    named = dict(groups)

    def apply(keys: Any, *leaves: Any) -> Any:
        path = path_of(keys)
        return function(named[path], *leaves) if path in named else leaves[0]

    return jax.tree_util.tree_map_with_path(apply, *trees)
