"""What is looked at: a trained network, its layers and units, images."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnn_jax.data import Split
from cnn_jax.errors import RequestError
from cnn_jax.insight import units
from cnn_jax.layers import ACTIVATIONS, Conv
from cnn_jax.network import Network, Variables
from cnn_jax.runs.model import TrainedModel

MOST_LAYERS, MOST_UNITS = 8, 12  # that are shown one by one, unless they are named
SEARCHED = 2000  # validation images among which the strongest patches are looked for


@dataclass(frozen=True)
class Request:
    """What to look at. `files`: images from disk beside `count` validation images; `layers` and `units` instead of the
    usual choice; `seed` of everything random."""

    files: tuple[Path, ...] = ()
    count: int = 16
    layers: tuple[str, ...] = ()
    units: tuple[int, ...] = ()
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Inspection:
    """A request that can be met. `shown` uint8 (n, h, w, c) are the images to explain, with `names` and, where they are
    known, `labels`; `split` is the validation split, None where a network comes without its data."""

    trained: TrainedModel
    split: Split | None
    request: Request
    layers: list[str]
    shown: np.ndarray
    names: list[str]
    labels: list[int | None]

    @classmethod
    def of(cls, trained: TrainedModel, split: Split | None, request: Request) -> "Inspection":
        """RequestError for a layer or unit that does not exist or for no image at all, DataError for an image that does
        not fit."""
        layers = list(request.layers) or layers_to_show(trained.network)
        for layer in layers:
            units.check_units(trained.network.node(layer), request.units)
        if request.count < 0:
            raise RequestError(f"--count {request.count} must not be negative")
        size = 0 if split is None else len(split)
        count = min(request.count, size)
        at = spread(size, count)
        if not count and not request.files:
            raise RequestError("there is no image to explain: give --count or --images")
        images = [trained.read(request.files)] if request.files else []
        labels: list[int | None] = [None] * len(request.files)
        if split is not None:
            images.append(split.images[at])
            labels += [int(label) for label in split.labels[at]]
        names = [path.name for path in request.files] + [f"validation image {i}" for i in at]
        return cls(trained, split, request, layers, np.concatenate(images), names, labels)

    @property
    def network(self) -> Network:
        return self.trained.network

    @property
    def variables(self) -> Variables:
        return self.trained.variables

    @functools.cached_property
    def images(self) -> jax.Array:
        """Those to explain, as the network takes them."""
        return self.trained.normalise(self.shown)

    def at_least(self, count: int) -> jax.Array:
        """The images to explain; where they are fewer than `count`, validation images behind them, as far as there are
        any."""
        missing = count - len(self.shown)
        if self.split is None or missing <= 0:
            return self.images
        others = np.setdiff1d(np.arange(len(self.split)), spread(len(self.split), self.request.count))
        more = self.split.images[others[spread(len(others), missing)]]
        return self.trained.normalise(np.concatenate([self.shown, more]))

    @functools.cached_property
    def searched_at(self) -> np.ndarray:
        """The numbers of the validation images among which the strongest patches are looked for, or of those shown."""
        return np.arange(len(self.shown)) if self.split is None else spread(len(self.split), SEARCHED)

    @functools.cached_property
    def searched(self) -> np.ndarray:
        """These images, uint8."""
        return (self.shown if self.split is None else self.split.images)[self.searched_at]

    @functools.cached_property
    def history(self) -> list[tuple[int, Any]]:
        """The weights over the course of training, see `TrainedModel.history`."""
        return self.trained.history()

    def key(self, number: int) -> jax.Array:
        """A key for one of the things that draw numbers."""
        return jax.random.fold_in(jax.random.key(self.request.seed), number)

    def units_of(self, layer: str) -> list[int]:
        """The units that are shown of a layer."""
        return list(self.request.units) or list(range(min(self.network.node(layer).output[-1], MOST_UNITS)))

    @property
    def first_conv(self) -> str | None:
        return next((node.name for node in self.network.walk() if isinstance(node.layer, Conv)), None)


def spread(size: int, count: int) -> np.ndarray:
    """At most `count` of `size` positions, evenly spaced: a split may be sorted by class."""
    count = min(count, size)
    return np.arange(count) * size // max(count, 1)


def layers_to_show(network: Network) -> list[str]:
    """The first convolution, and of the layers that only work on what the one before them made (batch norm,
    nonlinearity, dropout) the last in a row; of a deep network MOST_LAYERS of these, evenly spread, the last one among
    them."""
    nodes = list(network.walk())
    working = ("bn", "lrn", "drop", *ACTIVATIONS)
    ends = [
        node.name
        for node, after in zip(nodes, [*nodes[1:], None], strict=True)
        if node.layer.kind not in ("pad", "drop") and (after is None or after.layer.kind not in working)
    ]
    first = next((node.name for node in nodes if isinstance(node.layer, Conv)), ends[0])
    shown = [first, *(name for name in ends if name != first)]
    if len(shown) <= MOST_LAYERS:
        return shown
    return [shown[round(i)] for i in np.linspace(0, len(shown) - 1, MOST_LAYERS)]
