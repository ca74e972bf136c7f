"""Explanations of single images, stamped with their own checks."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.insight import attribution, checks, units
from cnn_jax.insight.checks import SanityCheck
from cnn_jax.report import explorer, plots
from cnn_jax.report.explorer import ImageCard
from cnn_jax.report.inspect.figure_writer import FigureWriter
from cnn_jax.report.inspect.inspection import Inspection

CHECKED = 32  # images that the checks rest on
DRAWN = 6  # images in the figure
SECTION = "Explanations and their own test"
VOTES = 5  # features that are named


@dataclass(frozen=True)
class Explained:
    """The images with what explains them, the methods' stamps, and the largest completeness gap (in logits)."""

    cards: list[ImageCard]
    stamps: list[SanityCheck]
    gap: float


def explain(inspection: Inspection, writer: FigureWriter) -> Explained:
    """Explains for each image the class that it was called."""
    network, variables, images = inspection.network, inspection.variables, inspection.at_least(CHECKED)
    methods = attribution.methods(network, inspection.key(1))
    chances = np.asarray(jax.nn.softmax(network.apply(variables, images)))
    classes = jnp.asarray(chances.argmax(1))
    n = len(inspection.shown)
    probabilities, called = chances[:n], chances.argmax(1)[:n]

    def of_all(method: Any) -> np.ndarray:
        """What a method makes of every image, in batches as large as those of the checks: one program for both."""
        pairs = zip(units.batches(images, CHECKED), units.batches(classes, CHECKED), strict=True)
        return np.concatenate([np.asarray(method(network, variables, *pair)) for pair in pairs])[:n]

    maps = {name: checks.importance(name, of_all(method)) for name, method in methods.items()}
    stamps = checks.examine(network, variables, images[:CHECKED], classes[:CHECKED], methods, inspection.key(2))
    gap = float(np.abs(of_all(lambda *given: attribution.integrated_gradients(*given)[1])).max())
    titles = [_title(inspection, i, probabilities[i]) for i in range(n)]
    _draw(inspection, writer, maps, titles, called, stamps, gap)
    cards = [
        ImageCard(
            title=title,
            picture=explorer.picture(picture / 255.0),
            probabilities=_most_probable(inspection, chances),
            attributions=[_coloured(name, found[i]) for name, found in maps.items()],
        )
        for i, (title, picture, chances) in enumerate(zip(titles, inspection.shown, probabilities, strict=True))
    ]
    return Explained(_with_votes(inspection, cards, called), stamps, gap)


def _draw(
    inspection: Inspection, writer: FigureWriter, maps: dict[str, np.ndarray], titles: list[str], called: np.ndarray,
    stamps: list[SanityCheck], gap: float,
) -> None:  # fmt: skip
    n = stamps[0].n
    writer.draw(
        SECTION, "attributions", "What each method holds responsible for the class that an image was called. Red "
        "speaks for the class, blue against it; black to yellow has no sign. ρ: rank correlation of the magnitudes "
        f"with the map when all weights are random, mean over n = {n} images; above {checks.SAME} a method fails. "
        "del, ins: areas under the probability while pixels are deleted or inserted in the map's order. The "
        f"completeness gap of integrated gradients is at most {gap:.1e} logits.",
        plots.attributions(
            inspection.shown[:DRAWN] / 255.0, {name: found[:DRAWN] for name, found in maps.items()}, titles[:DRAWN],
            stamps,
        ),
        images=inspection.shown, called=called, **{name.replace(" ", "_"): found for name, found in maps.items()},
    )  # fmt: skip
    writer.draw(
        SECTION, "checks", "The methods' own test. Left: rank correlation with the true map as layers are drawn anew "
        "from the top down (Adebayo et al. 2018, 3.1); a map that stays above the dotted line does not show what was "
        "learned. Right: areas of deletion and insertion (Petsiuk et al. 2018, 3.2) minus those of random orders, mean "
        f"and 95 % t interval over n = {n} images.",
        plots.checks(stamps), methods=[stamp.method for stamp in stamps],
        layers=[layer for layer, _ in stamps[0].cascade],
        rank_correlation=[[value for _, value in stamp.cascade] for stamp in stamps],
        deletion=[stamp.deletion for stamp in stamps], insertion=[stamp.insertion for stamp in stamps],
    )  # fmt: skip


def _coloured(name: str, found: np.ndarray) -> str:
    scale = plots.scale_of(name, found)
    return explorer.coloured(found, scale["cmap"], scale["vmin"], scale["vmax"])


def _title(inspection: Inspection, i: int, probabilities: np.ndarray) -> str:
    names, best, label = inspection.trained.class_names, int(probabilities.argmax()), inspection.labels[i]
    truth = "" if label is None else f" ({names[label]})"
    return f"{inspection.names[i]}{truth}: called {names[best]}, {100 * probabilities[best]:.0f} %"


def _most_probable(inspection: Inspection, probabilities: np.ndarray) -> list[tuple[str, float | None]]:
    names = inspection.trained.class_names
    order = np.argsort(-probabilities, kind="stable")[:5]
    return [(names[i], round(float(p), 4) if np.isfinite(p := probabilities[i]) else None) for i in order]


def _with_votes(inspection: Inspection, cards: list[ImageCard], called: np.ndarray) -> list[ImageCard]:
    """The cards with the features of the last layer that voted most for the class, where it is a dense layer."""
    try:
        found = units.votes(inspection.network, inspection.variables, inspection.images)
    except RequestError:
        return cards
    made = []
    for card, each, best in zip(cards, found.contributions, called, strict=True):
        votes = each[:, best]
        order = np.argsort(-np.abs(votes), kind="stable")[:VOTES]
        listed = ", ".join(f"feature {j} {votes[j]:+.2f}" for j in order)
        words = (
            f"Votes of the last layer for {inspection.trained.class_names[best]}: {listed}; all {len(votes)} features "
            f"and the bias ({found.bias[best]:+.2f}) sum to the logit {votes.sum() + found.bias[best]:.2f}."
        )
        made.append(replace(card, votes=words))
    return made
