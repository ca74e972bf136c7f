"""Attribution maps of single images, with the sanity checks of each method."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.insight import attribution, checks, units
from cnn_jax.insight.checks import SanityCheck
from cnn_jax.network import Network
from cnn_jax.report import explorer, pictures, plots
from cnn_jax.report.explorer import ImageCard
from cnn_jax.report.inspect.figure_writer import FigureWriter
from cnn_jax.report.inspect.inspection import Inspection, affordable

CHECKED, WORK = 32, 4e8  # images that the sanity checks use, and multiply-adds of all of them: of large networks fewer
DRAWN = 6  # images in the figure
SECTION = "Attribution maps and their sanity checks"
VOTES = 5  # features listed


@dataclass(frozen=True)
class Explanations:
    """The images with their attributions, the sanity checks of the methods, and the largest completeness gap of
    integrated gradients (in logits)."""

    cards: list[ImageCard]
    checks: list[SanityCheck]
    gap: float


def explain(inspection: Inspection, writer: FigureWriter) -> Explanations:
    """Explains the predicted class of each image."""
    network, variables = inspection.network, inspection.variables
    checked = affordable(network, CHECKED, WORK, least=8)
    images = inspection.at_least(checked)
    methods = attribution.methods(network, inspection.key(1))
    all_probabilities = np.asarray(jax.nn.softmax(network.apply(variables, images)))
    classes = jnp.asarray(all_probabilities.argmax(1))
    n = len(inspection.shown)
    probabilities, predicted = all_probabilities[:n], all_probabilities.argmax(1)[:n]

    def of_all(method: Any) -> np.ndarray:
        """A method's maps of all images, in batches of the size that the checks use: one compiled program for both."""
        pairs = zip(units.batches(images, checked), units.batches(classes, checked), strict=True)
        return np.concatenate([np.asarray(method(network, variables, *pair)) for pair in pairs])[:n]

    maps = {name: checks.importance(name, of_all(method)) for name, method in methods.items()}
    results = checks.examine(network, variables, images[:checked], classes[:checked], methods, inspection.key(2))
    gap = float(np.abs(of_all(lambda *args: attribution.integrated_gradients(*args)[1])).max())
    good = [check.method for check in results if check.depends_on_weights and all(check.faithful)]
    failed = [check.method for check in results if not check.depends_on_weights]
    writer.find(
        SECTION, f"{len(good)} of {len(results)} methods depend on the weights and are better than chance at deleting "
        f"and inserting pixels: {', '.join(good) or 'none'}.",
        (f"{', '.join(failed)} {'shows' if len(failed) == 1 else 'show'} the image more than the network. " if failed
        else "") + f"n = {results[0].n} images of one network; --rank compares over seeds.",
    )  # fmt: skip
    titles = [_title(inspection, i, probabilities[i]) for i in range(n)]
    _draw(inspection, writer, maps, titles, predicted, results, gap)
    cards = [
        ImageCard(
            title=title,
            picture=explorer.picture(picture / 255.0),
            probabilities=_most_probable(inspection, of_image),
            attributions=[_coloured(name, values[i]) for name, values in maps.items()],
        )
        for i, (title, picture, of_image) in enumerate(zip(titles, inspection.shown, probabilities, strict=True))
    ]
    return Explanations(_with_votes(inspection, cards, predicted), results, gap)


def _draw(
    inspection: Inspection, writer: FigureWriter, maps: dict[str, np.ndarray], titles: list[str], predicted: np.ndarray,
    results: list[SanityCheck], gap: float,
) -> None:  # fmt: skip
    n = results[0].n
    writer.draw(
        SECTION, "attributions", "Which pixels each method holds responsible for the predicted class. Red is evidence "
        "for the class, blue against it; black to yellow has no sign. ρ: rank correlation of the magnitudes "
        f"with the map when all weights are random, mean over n = {n} images; above {checks.SAME} a method fails. "
        "del, ins: areas under the probability while pixels are deleted or inserted in the map's order. The "
        f"completeness gap of integrated gradients is at most {gap:.1e} logits.{_left_out(inspection.network)}",
        lambda: pictures.attributions(
            inspection.shown[:DRAWN] / 255.0, {name: values[:DRAWN] for name, values in maps.items()}, titles[:DRAWN],
            results,
        ),
        images=inspection.shown, called=predicted,
        **{name.replace(" ", "_"): values for name, values in maps.items()},
    )  # fmt: skip
    writer.draw(
        SECTION, "checks", "Sanity checks of the methods. Left: rank correlation with the true map as layers are "
        "reinitialised from the top down (Adebayo et al. 2018, 3.1); a map that stays above the dotted line does not "
        "show what was learned. Right: areas of deletion and insertion (Petsiuk et al. 2018, 3.2) minus those of "
        f"random orders, mean and 95 % t interval over n = {n} images.",
        lambda: plots.checks(results), methods=[check.method for check in results],
        layers=[layer for layer, _ in results[0].cascade],
        rank_correlation=[[value for _, value in check.cascade] for check in results],
        deletion=[check.deletion for check in results], insertion=[check.insertion for check in results],
    )  # fmt: skip


def _left_out(network: Network) -> str:
    if not network.opaque:
        return ""
    return f" Guided backpropagation and the deconvnet are left out: they cannot modify {network.opaque[0]}."


def _coloured(name: str, values: np.ndarray) -> str:
    return explorer.picture(pictures.painted(values, **pictures.scale_of(name, values)))


def _title(inspection: Inspection, i: int, probabilities: np.ndarray) -> str:
    names, best, label = inspection.trained.class_names, int(probabilities.argmax()), inspection.labels[i]
    truth = "" if label is None else f" ({names[label]})"
    return f"{inspection.names[i]}{truth}: predicted {names[best]}, {100 * probabilities[best]:.0f} %"


def _most_probable(inspection: Inspection, probabilities: np.ndarray) -> list[tuple[str, float | None]]:
    names = inspection.trained.class_names
    order = np.argsort(-probabilities, kind="stable")[:5]
    return [(names[i], round(float(p), 4) if np.isfinite(p := probabilities[i]) else None) for i in order]


def _with_votes(inspection: Inspection, cards: list[ImageCard], predicted: np.ndarray) -> list[ImageCard]:
    """The cards with the largest contributions to the predicted class's logit, if the last layer is dense."""
    try:
        votes = units.votes(inspection.network, inspection.variables, inspection.images)
    except RequestError:
        return cards
    cards_with_votes = []
    for card, contributions, best in zip(cards, votes.contributions, predicted, strict=True):
        for_class = contributions[:, best]
        order = np.argsort(-np.abs(for_class), kind="stable")[:VOTES]
        listed = ", ".join(f"feature {j} {for_class[j]:+.2f}" for j in order)
        words = (
            f"Votes of the last layer for {inspection.trained.class_names[best]}: {listed}; all {len(for_class)} "
            f"features and the bias ({votes.bias[best]:+.2f}) sum to the logit "
            f"{for_class.sum() + votes.bias[best]:.2f}."
        )
        cards_with_votes.append(replace(card, votes=words))
    return cards_with_votes
