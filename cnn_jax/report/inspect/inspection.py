"""What to inspect: a trained network, its layers and units, images."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnn_jax import ops
from cnn_jax.data import Split
from cnn_jax.errors import RequestError, quote
from cnn_jax.insight import units
from cnn_jax.layers import ACTIVATIONS, Conv
from cnn_jax.network import Network, Variables
from cnn_jax.runs.model import TrainedModel

SECTIONS = (
    "live", "explanations", "units", "receptive-fields", "tuning", "loss-surfaces", "curvature", "mistakes",
    "figures",
)  # fmt: skip
QUICK = ("live", "mistakes")
MOST_LAYERS, MOST_UNITS = 8, 12  # shown individually unless requested by name
SEARCHED = 2000  # validation images searched for the strongest patches


@dataclass(frozen=True)
class Request:
    """What the user asks to inspect."""

    files: tuple[Path, ...] = ()  # images, in addition to the validation images
    count: int = 16  # validation images
    layers: tuple[str, ...] = ()  # default: `layers_to_show`
    units: tuple[int, ...] = ()  # default: the first MOST_UNITS of each layer
    seed: int = 0  # of everything random
    sections: tuple[str, ...] = SECTIONS


@dataclass(frozen=True, eq=False)
class Inspection:
    """A checked request, with its images."""

    trained: TrainedModel
    split: Split | None  # validation split, None for a network without its data
    request: Request
    layers: list[str]
    shown: np.ndarray  # uint8 (n, h, w, c), the images to explain
    names: list[str]
    labels: list[int | None]  # None: unknown

    @classmethod
    def of(cls, trained: TrainedModel, split: Split | None, request: Request) -> "Inspection":
        """Raises RequestError for an unknown layer or unit or if there is no image, DataError for an image that does
        not fit the network."""
        if unknown := [name for name in request.sections if name not in SECTIONS]:
            raise RequestError(f"section {quote(unknown[0])} does not exist; there are {', '.join(SECTIONS)}")
        layers = list(request.layers) or layers_to_show(trained.network)
        for layer in layers:
            units.check_units(trained.network.node(layer), request.units)
        if request.count < 0:
            raise RequestError(f"--count {request.count} must not be negative")
        size = 0 if split is None else len(split)
        count = min(request.count, size)
        indices = evenly_spaced(size, count)
        if not count and not request.files:
            raise RequestError("there is no image to explain: give --count or --images")
        images = [trained.read(request.files)] if request.files else []
        labels: list[int | None] = [None] * len(request.files)
        if split is not None:
            images.append(split.images[indices])
            labels += [int(label) for label in split.labels[indices]]
        names = [path.name for path in request.files] + [f"validation image {i}" for i in indices]
        return cls(trained, split, request, layers, np.concatenate(images), names, labels)

    @property
    def network(self) -> Network:
        return self.trained.network

    @property
    def variables(self) -> Variables:
        return self.trained.variables

    @functools.cached_property
    def images(self) -> jax.Array:
        """The images to explain, normalised."""
        return self.trained.normalise(self.shown)

    def at_least(self, count: int) -> jax.Array:
        """The images to explain, normalised; if there are fewer than `count`, followed by other validation images as
        far as available."""
        missing = count - len(self.shown)
        if self.split is None or missing <= 0:
            return self.images
        others = np.setdiff1d(np.arange(len(self.split)), evenly_spaced(len(self.split), self.request.count))
        more = self.split.images[others[evenly_spaced(len(others), missing)]]
        return self.trained.normalise(np.concatenate([self.shown, more]))

    @functools.cached_property
    def searched_at(self) -> np.ndarray:
        """Indices of the validation images searched for the strongest patches; without a split, of `shown`."""
        return np.arange(len(self.shown)) if self.split is None else evenly_spaced(len(self.split), SEARCHED)

    @functools.cached_property
    def searched(self) -> np.ndarray:
        """The images at `searched_at`, uint8."""
        return (self.shown if self.split is None else self.split.images)[self.searched_at]

    @functools.cached_property
    def history(self) -> list[tuple[int, Any]]:
        """The variables during training, see `TrainedModel.history`."""
        return self.trained.history()

    def key(self, number: int) -> jax.Array:
        """A random key; every use has its own `number`."""
        return jax.random.fold_in(jax.random.key(self.request.seed, impl=ops.generator(ops.resolve())), number)

    def units_of(self, layer: str) -> list[int]:
        """The units of a layer to show."""
        return list(self.request.units) or list(range(min(self.network.node(layer).output[-1], MOST_UNITS)))

    def wants(self, section: str) -> bool:
        return section in self.request.sections

    @property
    def first_conv(self) -> str | None:
        return next((node.name for node in self.network.walk() if isinstance(node.layer, Conv)), None)


def evenly_spaced(size: int, count: int) -> np.ndarray:
    """At most `count` evenly spaced indices below `size`; evenly spaced because a split may be sorted by class."""
    count = min(count, size)
    return np.arange(count) * size // max(count, 1)


def affordable(network: Network, most: int, work: float, least: int = 32) -> int:
    """The number of images, from `least` to `most`, whose forward pass takes about `work` multiply-adds."""
    return max(least, min(most, int(work / max(network.multiply_adds, 1))))


def layers_to_show(network: Network) -> list[str]:
    """The layers inspected by default: each layer together with the normalisation and activation that follow it counts
    as one, named by its last part, the first convolution by its own; without padding and dropout. At most MOST_LAYERS,
    evenly spaced, the first and the last among them."""
    nodes = [node for node in network.walk() if node.layer.kind not in ("pad", "drop")]
    follow_ups = ("bn", "lrn", *ACTIVATIONS)
    first = next((node.name for node in nodes if isinstance(node.layer, Conv)), None)
    shown: list[str] = []
    group: list[str] = []
    for node, after in zip(nodes, [*nodes[1:], None], strict=True):
        group.append(node.name)
        if after is None or after.layer.kind not in follow_ups:
            shown.append(first if first in group else node.name)
            group = []
    if len(shown) <= MOST_LAYERS:
        return shown
    return [shown[round(i)] for i in np.linspace(0, len(shown) - 1, MOST_LAYERS)]
