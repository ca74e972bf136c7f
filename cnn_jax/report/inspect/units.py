"""The units of the chosen layers: what excites them, what they prefer, their maps of the images."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.insight import attribution, synthesis, tuning, units
from cnn_jax.insight.tuning import Tuning
from cnn_jax.insight.units import Strongest
from cnn_jax.report import explorer, plots
from cnn_jax.report.explorer import LayerCard, UnitCard
from cnn_jax.report.inspect.figure_writer import FigureWriter
from cnn_jax.report.inspect.inspection import Inspection

PATCHES = 9  # of each unit
SECTION = "Units"


def look_at_units(inspection: Inspection, writer: FigureWriter) -> list[LayerCard]:
    """A card for each of the inspection's layers, and their figures."""
    kernels = _first_filters(inspection, writer)
    _draw_maps(inspection, writer)
    inputs = inspection.trained.normalise(inspection.searched)
    found = units.strongest(inspection.network, inspection.variables, inputs, inspection.layers, PATCHES)
    tuned = tuning.tuning(inspection.network, inspection.variables, inspection.layers)
    cards = []
    for layer in inspection.layers:
        shown = kernels if layer == inspection.first_conv else None
        cards.append(_layer(inspection, writer, layer, found[layer], inputs, tuned[layer], shown))
    return cards


def _first_filters(inspection: Inspection, writer: FigureWriter) -> np.ndarray | None:
    try:
        kernels = units.first_filters(inspection.network, inspection.variables)
    except RequestError:
        return None
    writer.draw(
        SECTION, "filters", f"The filters of {inspection.first_conv}, all on one scale that is symmetric around zero. "
        "Zero is white, or grey where there are colours.", plots.filters(kernels), filters=kernels,
    )  # fmt: skip
    return kernels


def _draw_maps(inspection: Inspection, writer: FigureWriter) -> None:
    found = inspection.network.activations(inspection.variables, inspection.images[:1])
    maps = {name: np.asarray(found[name][0]) for name in inspection.layers if found[name].ndim == 4}
    if maps:
        writer.draw(
            SECTION, "maps", f"Activation maps of {inspection.names[0]} (left), the first channels of each layer. Red "
            "is positive, blue negative, each layer on its own scale.", plots.maps(maps, inspection.shown[0] / 255.0),
            **maps,
        )  # fmt: skip


def _layer(
    inspection: Inspection, writer: FigureWriter, layer: str, found: Strongest, inputs: Any, tuned: Tuning,
    kernels: np.ndarray | None,
) -> LayerCard:  # fmt: skip
    network, node, chosen = inspection.network, inspection.network.node(layer), inspection.units_of(layer)
    made, values = synthesis.maximise(network, inspection.variables, layer, jnp.asarray(chosen), inspection.key(5))
    pictures = _seen_by_the_middle(inspection, layer, np.asarray(made))
    patches, projections = _patches(inspection, layer, found, inputs, chosen)
    places = found.images[chosen]
    writer.draw(
        SECTION, f"units-{layer}", f"Units of {layer}. Left: an image made for the unit in the middle of the maps "
        f"(activation maximisation, Yosinski et al. 2015; {synthesis.USUAL.steps} steps, seed "
        f"{inspection.request.seed}); middle: the {places.shape[1]} patches of {len(inspection.searched):,} images "
        "that excite it most, cut at its receptive field; right: what a deconvnet (Zeiler & Fergus 2014) projects back "
        "for each, grey is zero.",
        plots.units(pictures, patches, projections, chosen), units=chosen, made=made, activations=values,
        patches=patches, projections=projections, image_ids=inspection.searched_at[places], boxes=found.boxes[chosen],
        strongest=found.values[chosen],
    )  # fmt: skip
    cards = [
        UnitCard(
            unit,
            _words(found, inspection.searched_at, float(values[i, 1]), tuned, unit),
            kernel="" if kernels is None else _kernel_picture(kernels[unit]),
            made=explorer.picture(pictures[i]),
            patches=explorer.picture(plots.tiles(patches[i], 3)),
            projected=explorer.picture(plots.tiles(projections[i], 3)),
            tuning=_curve(tuned, unit),
        )
        for i, unit in enumerate(chosen)
    ]
    hidden = 0 if inspection.request.units else node.output[-1] - len(chosen)
    facts = f"{'x'.join(map(str, node.output))}, {node.parameters:,} parameters"
    return LayerCard(layer, facts, cards, f"; {hidden} more are not shown" if hidden else "")


def _seen_by_the_middle(inspection: Inspection, layer: str, images: np.ndarray) -> np.ndarray:
    """Images as the network takes them, as 0 to 1, cut to what the unit in the middle of a layer's maps sees."""
    height, width, _ = inspection.network.input_shape
    output = inspection.network.node(layer).output
    middle = [np.array(size // 2) for size in output[:2]] if len(output) == 3 else [np.array(0)] * 2
    top, bottom, left, right = units.boxes(inspection.network, layer, *middle).tolist()
    visible = np.clip(images * inspection.trained.std + inspection.trained.mean, 0, 1)
    return visible[:, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]


def _patches(
    inspection: Inspection, layer: str, found: Strongest, inputs: Any, chosen: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The strongest patches and their deconvnet projections, both (units, count, h, w, c), 0 to 1."""
    places = found.images[chosen]
    count = places.shape[1]
    projected = attribution.of_unit(
        inspection.network, inspection.variables, inputs[places.ravel()], layer, jnp.repeat(jnp.asarray(chosen), count),
        jnp.asarray(found.rows[chosen].ravel()), jnp.asarray(found.columns[chosen].ravel()), "deconvnet",
    )  # fmt: skip
    maps = np.asarray(projected).reshape(*places.shape, *inspection.network.input_shape)
    outside = float(inspection.trained.mean.mean())
    patches, projections = [], []
    for i, unit in enumerate(chosen):
        boxes = found.boxes[unit]
        pictures = inspection.searched[places[i]] / 255.0
        patches.append([units.cut(picture, box, outside) for picture, box in zip(pictures, boxes, strict=True)])
        projections.append([units.cut(plots.stretched(one), box, 0.5) for one, box in zip(maps[i], boxes, strict=True)])
    return np.array(patches), np.array(projections)


def _words(found: Strongest, ids: np.ndarray, made: float, tuned: Tuning, unit: int) -> str:
    words = f"activation of its strongest patch {found.values[unit, 0]:.2f}, of the image made for it {made:.2f}"
    if np.isfinite(tuned.selectivity[unit]):
        words += (
            f"; of gratings it prefers {tuned.preferred[unit]:.0f}° at {tuned.frequency[unit]:.2f} cycles per pixel, "
            f"selectivity {tuned.selectivity[unit]:.2f}, bandwidth {tuned.bandwidth[unit]:.0f}°"
        )
    return f"{words}. Patches from images {', '.join(map(str, ids[found.images[unit]]))}."


def _kernel_picture(kernel: np.ndarray) -> str:
    if kernel.shape[-1] == 3:
        return explorer.picture(0.5 + 0.5 * kernel)
    return explorer.coloured(kernel.mean(-1), plots.DIVERGING, -1, 1)


def _curve(tuned: Tuning, unit: int) -> str:
    """A unit's tuning curve as a small SVG in a data URI; "" for a unit that never answers."""
    if not np.isfinite(tuned.selectivity[unit]):
        return ""
    curve = tuned.curves[unit]
    x, y = 8 + 134 * tuned.orientations / 180.0, 72 - 60 * curve / curve.max()
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return explorer.drawing(
        "<svg xmlns='http://www.w3.org/2000/svg' width='150' height='92' font-family='sans-serif' font-size='10'>"
        "<rect width='150' height='92' fill='white'/><path d='M8 72H142' stroke='gray'/>"
        f"<polyline points='{points}' fill='none' stroke='#0072B2' stroke-width='2'/>"
        "<text x='4' y='86'>0°</text><text x='66' y='86'>90°</text><text x='122' y='86'>170°</text></svg>"
    )


def strips(inspection: Inspection, layers: list[LayerCard]) -> list[dict[str, str]]:
    """For each image and each layer with maps, the maps of the layer's units one below the other."""
    made: list[dict[str, str]] = [{} for _ in inspection.shown]
    found = inspection.network.activations(inspection.variables, inspection.images)
    for layer in layers:
        if found[layer.name].ndim != 4:
            continue
        maps = np.asarray(found[layer.name])[..., [card.unit for card in layer.units]]
        for one, into in zip(maps, made, strict=True):
            largest = max(float(np.abs(one).max()), 1e-12)
            strip = np.moveaxis(one, -1, 0).reshape(-1, one.shape[1])
            into[layer.name] = explorer.coloured(strip, plots.DIVERGING, -largest, largest)
    return made
