"""Which explanations may be trusted on a network: every method by the same measures, over networks that differ in their
seed, or over images where there is one network."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax.errors import RequestError
from cnn_jax.insight import attribution, cam, checks, judging, rules, sampling
from cnn_jax.insight.attribution import Method
from cnn_jax.insight.functions import Probabilities
from cnn_jax.network import Network, Variables
from cnn_jax.statistics import Paired, paired_t

MEASURES = {"randomisation": -1, "deletion": -1, "insertion": 1, "ROAD": -1}  # and whether high or low is good
FAITHFUL = ("deletion", "insertion", "ROAD")

Values = Mapping[str, np.ndarray]  # of each measure, float64 (images,)


@dataclass(frozen=True)
class Ranked:
    """A method over n networks, or n images of one.

    Attributes:
      method: its name.
      measures: by name, the mean and its 95 % t interval. `randomisation` is the rank correlation with maps of random
        weights; the others are differences from a random order of the pixels: of the areas of deletion and insertion,
        and of the share of images whose class survives remove-and-debias.
      place: the mean place among all methods by deletion, insertion and ROAD; 1 is the best.
    """

    method: str
    measures: Mapping[str, Paired]
    place: float

    @property
    def depends_on_weights(self) -> bool:
        return self.measures["randomisation"].high < checks.SAME

    @property
    def faithful(self) -> bool:
        """Whether all measures of faithfulness are better than for a random order, each at its 95 % interval."""
        return all(
            (self.measures[name].low > 0) if MEASURES[name] > 0 else (self.measures[name].high < 0) for name in FAITHFUL
        )

    @property
    def trusted(self) -> bool:
        return self.depends_on_weights and self.faithful


def candidates(network: Network, variables: Variables, image: Array, key: Array) -> tuple[dict[str, Method], list[str]]:
    """The methods that can explain a network, tried on an image (1, h, w, c), and why the others cannot."""
    height, width, _ = network.input_shape
    large: Callable[[Array], Array] = functools.partial(cam.enlarged, height=height, width=width)
    methods = attribution.methods(network, key) | {
        "DeepLIFT": rules.deep_lift,
        "relevance propagation": rules.relevance,
        "RISE": lambda f, *args: sampling.rise(Probabilities(f), *args, key=key, masks=500),
    }
    if "Grad-CAM" in methods:
        layer = cam.grad_cam_layer(network)
        methods["HiResCAM"] = lambda *args: large(cam.hires_cam(*args, layer=layer))
        methods["LayerCAM"] = lambda *args: large(cam.layer_cam(*args, layer=layer))
    refused = []
    for name, method in list(methods.items()):
        try:
            jax.eval_shape(lambda x, m=method: m(network, variables, x, jnp.zeros(1, jnp.int32)), image)
        except RequestError as error:
            del methods[name]
            refused.append(f"{name}: {error}")
    return methods, refused


def measured(
    network: Network, variables: Variables, images: Array, methods: Mapping[str, Method], key: Array, draws: int = 3
) -> dict[str, Values]:
    """The measures of every method on one network, which explains its own prediction of each image (n, h, w, c)."""
    classes = network.apply(variables, images).argmax(1)
    weights_key, order_key, road_key = jax.random.split(key, 3)
    random = [network.init(own) for own in jax.random.split(weights_key, draws)]

    def faithful(found: np.ndarray) -> dict[str, np.ndarray]:
        orders = jnp.asarray(checks.ranks(found))
        areas = [
            np.asarray(checks.area(network, variables, images, classes, orders, insert)) for insert in (False, True)
        ]
        survived = judging.right_without(found, network, variables, images, np.asarray(classes), road_key)
        return dict(zip(FAITHFUL, (*areas, survived.mean(0)), strict=True))

    orders = jax.random.split(order_key, checks.RANDOM_ORDERS)
    by_chance = [faithful(np.asarray(jax.random.uniform(own, images.shape[:3]))) for own in orders]
    chance = {name: np.mean([values[name] for values in by_chance], axis=0) for name in FAITHFUL}
    results: dict[str, Values] = {}
    for name, method in methods.items():
        found = checks.importance(name, np.asarray(method(network, variables, images, classes)))
        others = [checks.importance(name, np.asarray(method(network, v, images, classes))) for v in random]
        same = np.mean([checks.rank_correlation(found, other) for other in others], axis=0)
        own = faithful(found)
        results[name] = {"randomisation": same} | {key: own[key] - chance[key] for key in FAITHFUL}
    return results


def ranked(networks: Sequence[Mapping[str, Values]]) -> list[Ranked]:
    """Every method, those that may be trusted first, then by its mean place. Intervals are over the networks, of which
    each counts with its mean over images; over the images if there is one network."""
    values: dict[str, dict[str, np.ndarray]] = {}
    for method in networks[0]:
        of_all = [of_network[method] for of_network in networks]
        values[method] = {
            name: of_all[0][name] if len(of_all) == 1 else np.array([one[name].mean() for one in of_all])
            for name in MEASURES
        }
    places = _places(values)
    found = [
        Ranked(method, {name: paired_t(v.tolist(), [0.0] * len(v)) for name, v in own.items()}, places[method])
        for method, own in values.items()
    ]
    return sorted(found, key=lambda one: (not one.trusted, one.place, one.method))


def _places(values: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, float]:
    """The mean place of each method over networks or images and the measures of faithfulness; ties share theirs."""
    from scipy import stats

    by_measure = [
        stats.rankdata([-MEASURES[name] * own[name] for own in values.values()], axis=0).mean(1) for name in FAITHFUL
    ]
    return dict(zip(values, np.mean(by_measure, axis=0).tolist(), strict=True))
