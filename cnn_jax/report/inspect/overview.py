"""The network as a whole: receptive fields, orientation tuning, loss landscape, mistakes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from cnn_jax.data import Split
from cnn_jax.errors import RequestError
from cnn_jax.insight import fields, landscape, mistakes, tuning
from cnn_jax.losses import LOSSES
from cnn_jax.report import page, pictures, plots
from cnn_jax.report.inspect.figure_writer import FigureWriter
from cnn_jax.report.inspect.inspection import Inspection, affordable, evenly_spaced
from cnn_jax.statistics import binomial_interval

AVERAGED = 32  # images over which the effective receptive field is averaged
UNTRAINED = 10  # networks that say which selectivity chance makes
POINTS = 21  # along each side of a loss plane
SURFACE = 256  # images of a loss surface
WORK = 1e9  # multiply-adds of all of them: those of larger networks are fewer
RATES = np.concatenate([[0.0], np.geomspace(1e-4, 1e2, 37)])
SCORED = 1000  # images per batch


def receptive_fields(inspection: Inspection, writer: FigureWriter) -> None:
    """A table with a row per layer."""
    by_layer = fields.receptive_fields(inspection.network, inspection.variables, inspection.images[:AVERAGED])
    columns = ("layer", "size", "jump", "effective", "closed_form", "support")
    writer.keep("receptive-fields", **{name: [getattr(field, name) for field in by_layer] for name in columns})

    deep = [field for field in by_layer if len(field.output) == 3]
    if deep:
        last, (height, width, _) = deep[-1], inspection.network.input_shape
        writer.find(
            "Receptive fields", f"A unit of {last.layer} can see {min(last.size[0], height)} x "
            f"{min(last.size[1], width)} of {height} x {width} pixels; what matters to it lies in a square of "
            f"{last.effective:.0f}.",
            "The effective field is a mean over images of this network; it grows with training.",
        )  # fmt: skip

    def span(axes: Any) -> str:
        return " x ".join(f"{low}–{high - 1}" for low, high in axes)

    rows = [
        {
            "output": "x".join(map(str, field.output)),
            "parameters": f"{field.parameters:,}",
            "field": f"{field.size[0]} x {field.size[1]}",
            "stride": f"{field.jump[0]}",
            "pixels by arithmetic": span(field.closed_form),
            "by gradient": span(field.support),
            "effective side": f"{field.effective:.1f}",
            "layer": field.layer,
        }
        for field in by_layer
    ]
    writer.add("Receptive fields", page.table(pd.DataFrame(rows)))
    writer.add(
        "Receptive fields",
        page.paragraph(
            "The receptive field of the unit in the middle of each layer's maps, in pixels. Field, stride and pixels "
            "by arithmetic follow from the layers' sizes (Araujo, Norris & Sim 2019); by gradient: where the "
            "derivative is not zero when no path is blocked; effective: the side of a square of as many pixels as "
            "have more than 4.55 % of the largest influence in this network (Luo et al. 2016, 3.1), mean over "
            f"{len(inspection.images[:AVERAGED])} images."
        ),
    )


def orientation(inspection: Inspection, writer: FigureWriter) -> None:
    """Orientation tuning of the first convolution before, during and after training."""
    layer = inspection.first_conv
    if layer is None or not inspection.history:
        return

    def of(variables: Any) -> tuning.Tuning:
        return tuning.tuning(inspection.network, variables, [layer])[layer]

    tuned = [(step, of(variables)) for step, variables in inspection.history]
    before, after = tuned[0][1], of(inspection.variables)
    untrained = [of(inspection.network.init(key)) for key in jax.random.split(inspection.key(6), UNTRAINED)]
    by_chance = np.nanquantile(np.concatenate([one.selectivity for one in untrained]), 0.95)
    selective = int((after.selectivity > by_chance).sum())
    writer.find(
        "Orientation tuning", f"{selective} of {len(after.selectivity)} units of {layer} are more selective for an "
        f"orientation than 95 % of untrained ones (selectivity above {by_chance:.2f}).",
        f"By chance {0.05 * len(after.selectivity):.1f} would be; {UNTRAINED} untrained networks are the reference.",
    )  # fmt: skip
    course = [(step, float(np.nanmedian(at_step.selectivity))) for step, at_step in tuned]
    writer.draw(
        "Orientation tuning", "tuning", f"Responses of the {len(after.selectivity)} units of {layer} to gratings of "
        f"{len(after.orientations)} orientations, {len(after.frequencies)} frequencies and {len(tuning.PHASES)} "
        "phases. A response is the largest activation over phases minus the activation for a blank image; selectivity "
        "is |Σ R(θ) exp(2iθ)| / Σ R(θ), one minus the circular variance (Ringach et al. 2002). One network, n = 1 "
        "seed: its units are not independent samples.",
        lambda: plots.tuning(before, after, course, layer), orientations=after.orientations, curves=after.curves,
        curves_untrained=before.curves, selectivity=after.selectivity, selectivity_untrained=before.selectivity,
        preferred=after.preferred, bandwidth=after.bandwidth, course=course,
    )  # fmt: skip


def loss_surfaces(inspection: Inspection, writer: FigureWriter, split: Split) -> None:
    """The loss along the gradient, on a random plane and along the training trajectory."""
    network, section = inspection.network, "Loss landscape"
    loss = LOSSES[inspection.trained.config.loss]
    indices = evenly_spaced(len(split), affordable(network, SURFACE, WORK))
    images, labels = inspection.trained.normalise(split.images[indices]), jnp.asarray(split.labels[indices])
    n = len(labels)
    first, last = inspection.history[0][1], inspection.history[-1][1]
    along = np.asarray(landscape.along_gradient(network, loss, first, images, labels, jnp.asarray(RATES)))
    writer.draw(
        section, "loss-along-gradient", "The loss of the untrained network after one step along its gradient. "
        f"It is the run's own loss ({loss.title}), here and below without label smoothing and weight decay. "
        f"The same {n} validation images before and after: too small a learning rate has hardly any effect, too large "
        "a one overshoots.",
        lambda: plots.loss_along(RATES, along, inspection.trained.config.learning_rate, loss.title), rates=RATES,
        losses=along,
    )  # fmt: skip

    best = int(np.nanargmin(along))
    lower = f"falls to {along[best]:.3g} at a rate of {RATES[best]:.2g}" if best else "falls at no rate"
    writer.find(
        section, f"In one step from the untrained network the loss of {along[0]:.3g} {lower}.",
        "Planes are cuts through a space of as many dimensions as there are weights: what looks like a bowl need not "
        "be one.",
    )  # fmt: skip

    def surface(variables: Any, directions: Any, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        coordinates = jnp.asarray(xs, jnp.float32), jnp.asarray(ys, jnp.float32)
        return np.asarray(landscape.on_plane(network, loss, variables, *directions, images, labels, *coordinates))

    side = np.linspace(-1, 1, POINTS)
    directions = [landscape.random_direction(inspection.variables, inspection.key(i)) for i in (3, 4)]
    losses = surface(inspection.variables, directions, side, side)
    writer.draw(
        section, "loss-plane", "The loss around the trained weights (star) on a random plane. Directions are "
        f"normalised filter by filter (Li et al. 2018, 4), seed {inspection.request.seed}; {n} validation images; "
        "batch norm keeps its statistics.", lambda: plots.plane(side, side, losses, loss.title), x=side, y=side,
        losses=losses,
    )  # fmt: skip
    try:
        path = landscape.trajectory([variables["params"] for _, variables in inspection.history])
    except RequestError as error:
        writer.add(section, page.paragraph(f"No figure of the training trajectory: {error}."))
        return
    low, high = path.places.min(0), path.places.max(0)
    margin = 0.25 * max(float((high - low).max()), 1e-6)
    xs, ys = (np.linspace(low[i] - margin, high[i] + margin, POINTS) for i in (0, 1))
    along_path = surface(last, (path.first, path.second), xs, ys)
    writer.draw(
        section, "loss-trajectory", f"The training trajectory through {len(inspection.history)} checkpoints. It runs "
        "from the untrained network to the last weights (star), on the plane of its first two principal components "
        f"(Li et al. 2018, 7); the loss is over {n} validation images.",
        lambda: plots.plane(xs, ys, along_path, loss.title, path), x=xs, y=ys, losses=along_path, path=path.places,
        steps=[step for step, _ in inspection.history],
    )  # fmt: skip


def classification_mistakes(inspection: Inspection, writer: FigureWriter, split: Split) -> None:
    """Confusion matrix, calibration and the most confident mistakes."""
    names, section = inspection.trained.class_names, "Mistakes"
    parts = [
        jax.nn.softmax(
            inspection.network.apply(inspection.variables, inspection.trained.normalise(split.images[i : i + SCORED]))
        )
        for i in range(0, len(split), SCORED)
    ]
    probabilities = np.concatenate([np.asarray(part) for part in parts])
    counts = mistakes.confusion(probabilities, split.labels)
    calibration = mistakes.calibration(probabilities, split.labels)
    right, n = int(counts.trace()), len(split)
    interval = binomial_interval(right, n)
    worst = np.unravel_index((counts - np.diag(np.diag(counts))).argmax(), counts.shape)
    most = (
        f" Most often {names[worst[0]]} is taken for {names[worst[1]]}, {int(counts[worst])} times."
        if right < n
        else ""
    )
    writer.find(
        section, f"{100 * right / n:.2f} % of {n:,} validation images are classified correctly (95 % Wilson interval "
        f"{100 * interval.low:.2f} – {100 * interval.high:.2f} %).{most}",
        f"The probabilities are wrong by {100 * calibration.error:.1f} points on average. The interval is over "
        "images, of one network.",
    )  # fmt: skip
    writer.draw(
        section, "confusion", f"Confusion matrix of the validation images. {int(counts.trace()):,} of {len(split):,} "
        "are classified correctly. Right: accuracy by class with Wilson's 95 % interval over images.",
        lambda: plots.mistakes(counts, names), counts=counts,
    )  # fmt: skip
    writer.draw(
        section, "calibration", f"Reliability of the probabilities on {len(split):,} validation images. The expected "
        f"calibration error is the mean distance from the diagonal, weighted by the images in each of {mistakes.BINS} "
        "bins of equal width (Guo et al. 2017, 2).", lambda: plots.reliability(calibration), counts=calibration.counts,
        confidence=calibration.confidence, accuracy=calibration.accuracy, error=calibration.error,
    )  # fmt: skip
    wrong = mistakes.surest_mistakes(probabilities, split.labels)
    if not len(wrong):
        return
    predicted = probabilities[wrong].argmax(1)
    titles = [
        f"{names[split.labels[i]]}\npredicted {names[j]}, {100 * probabilities[i, j]:.0f} %"
        for i, j in zip(wrong, predicted, strict=True)
    ]
    writer.draw(
        section, "surest-mistakes", "The misclassified validation images with the largest probability of the wrong "
        "class.", lambda: pictures.gallery(split.images[wrong] / 255.0, titles), ids=wrong, called=predicted,
        labels=split.labels[wrong],
    )  # fmt: skip
