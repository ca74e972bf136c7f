"""The units of the inspected layers: what excites them, their orientation tuning, their activation maps."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.insight import attribution, synthesis, tuning, units
from cnn_jax.insight.functions import Ruled
from cnn_jax.insight.rules import ReLURule
from cnn_jax.insight.synthesis import Synthetic
from cnn_jax.insight.tuning import Tuning
from cnn_jax.insight.units import Strongest
from cnn_jax.network import Network
from cnn_jax.report import explorer, pictures
from cnn_jax.report.explorer import LayerCard, UnitCard
from cnn_jax.report.inspect.figure_writer import SIDE_BY_SIDE, FigureWriter
from cnn_jax.report.inspect.inspection import Inspection

PATCHES = 9  # per unit
SECTION = "Units"


def inspect_units(inspection: Inspection, writer: FigureWriter) -> list[LayerCard]:
    """Draws the figures of the inspection's layers and returns a card for each layer."""
    kernels = _first_filters(inspection, writer)
    _draw_maps(inspection, writer)
    inputs = inspection.trained.normalise(inspection.searched)
    strongest = units.strongest(inspection.network, inspection.variables, inputs, inspection.layers, PATCHES)
    tuned = tuning.tuning(inspection.network, inspection.variables, inspection.layers)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:  # compilations side by side
        made = pool.map(lambda layer: _made(inspection, layer), inspection.layers)
        cards = [
            _layer(inspection, writer, layer, strongest[layer], inputs, tuned[layer], images, kernels)
            for layer, images in zip(inspection.layers, made, strict=True)
        ]
    of_all = [strongest[layer].values[:, 0] for layer in inspection.layers]
    dead = {layer: int((best <= 0).sum()) for layer, best in zip(inspection.layers, of_all, strict=True)}
    listed = ", ".join(f"{count} in {layer}" for layer, count in dead.items() if count)
    writer.find(
        SECTION, f"{sum(dead.values())} of {sum(map(len, of_all))} units of the layers shown are not excited by any of "
        f"{len(inputs):,} images{f': {listed}' if listed else ''}.",
        "The strongest patches show what a unit answers to among these images, not what it is for; an image made for a "
        "unit that reaches less than its strongest patch says little.",
    )  # fmt: skip
    return cards


def _first_filters(inspection: Inspection, writer: FigureWriter) -> np.ndarray | None:
    try:
        kernels = units.first_filters(inspection.network, inspection.variables)
    except RequestError:
        return None
    writer.draw(
        SECTION, "filters", f"The filters of {inspection.first_conv}, all on one scale that is symmetric around zero. "
        "Zero is white, or grey for filters with colours.", lambda: pictures.filters(kernels), filters=kernels,
    )  # fmt: skip
    return kernels


def _draw_maps(inspection: Inspection, writer: FigureWriter) -> None:
    outputs = inspection.network.activations(inspection.variables, inspection.images[:1])
    maps = {name: np.asarray(outputs[name][0]) for name in inspection.layers if outputs[name].ndim == 4}
    if maps:
        writer.draw(
            SECTION, "maps", f"Activation maps of {inspection.names[0]} (left), the first channels of each layer. Red "
            "is positive, blue negative, each layer on its own scale.",
            lambda: pictures.maps(maps, inspection.shown[0] / 255.0), **maps,
        )  # fmt: skip


def _made(inspection: Inspection, layer: str) -> Synthetic:
    """The images made for the units of a layer."""
    span = synthesis.span_of(inspection.trained.mean, inspection.trained.std)
    chosen = jnp.asarray(inspection.units_of(layer))
    with jax.default_matmul_precision(inspection.trained.config.precision):
        return synthesis.maximise(inspection.network, inspection.variables, layer, chosen, inspection.key(5), span)


def _layer(
    inspection: Inspection, writer: FigureWriter, layer: str, strongest: Strongest, inputs: Any, tuned: Tuning,
    made: Synthetic, kernels: np.ndarray | None,
) -> LayerCard:  # fmt: skip
    network, node, chosen = inspection.network, inspection.network.node(layer), inspection.units_of(layer)
    reached = np.asarray(made.reached)
    cut = _cut_to_middle_field(inspection, layer, np.asarray(made.images))
    patches, projections = _patches(inspection, layer, strongest, inputs, chosen)
    indices = strongest.images[chosen]
    writer.draw_sheet(
        f"Units of {layer}", SECTION, f"units-{layer}",
        f"Units of {layer}. Left: a synthetic image for the unit in the middle of the maps (activation "
        "maximisation in pixels and Fourier coefficients, Olah et al. 2017; seed "
        f"{inspection.request.seed}); {_below(reached, strongest.values[chosen, 0])}; middle: the {indices.shape[1]} "
        f"patches of {len(inspection.searched):,} images that excite it most, cut to its receptive field; right: "
        f"{_about_projections(network)}",
        lambda: pictures.units(cut, patches, projections, chosen), units=chosen, made=made.images,
        activations=reached,
        patches=patches, **({} if projections is None else {"projections": projections}),
        image_ids=inspection.searched_at[indices], boxes=strongest.boxes[chosen], strongest=strongest.values[chosen],
    )  # fmt: skip
    cards = [
        UnitCard(
            unit,
            _words(strongest, inspection.searched_at, float(reached[i]), tuned, unit),
            kernel="" if kernels is None or layer != inspection.first_conv else _kernel_picture(kernels[unit]),
            made=explorer.picture(cut[i]),
            patches=explorer.picture(pictures.tiles(patches[i], 3)),
            projected="" if projections is None else explorer.picture(pictures.tiles(projections[i], 3)),
            tuning=_curve(tuned, unit),
        )
        for i, unit in enumerate(chosen)
    ]
    hidden = 0 if inspection.request.units else node.output[-1] - len(chosen)
    facts = f"{'x'.join(map(str, node.output))}, {node.parameters:,} parameters"
    return LayerCard(layer, facts, cards, f"; {hidden} more are not shown" if hidden else "")


def _cut_to_middle_field(inspection: Inspection, layer: str, images: np.ndarray) -> np.ndarray:
    """Normalised images (n, h, w, c) scaled to 0..1 and cut to the receptive field of the unit in the middle of a
    layer's maps."""
    height, width, _ = inspection.network.input_shape
    output = inspection.network.node(layer).output
    middle = [np.array(size // 2) for size in output[:2]] if len(output) == 3 else [np.array(0)] * 2
    top, bottom, left, right = units.boxes(inspection.network, layer, *middle).tolist()
    visible = np.clip(images * inspection.trained.std + inspection.trained.mean, 0, 1)
    return visible[:, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]


def _about_projections(network: Network) -> str:
    if network.opaque:
        return f"nothing, since the deconvnet cannot modify the backward pass of {network.opaque[0]}."
    return "the deconvnet projection of each (Zeiler & Fergus 2014), grey is zero."


def _patches(
    inspection: Inspection, layer: str, strongest: Strongest, inputs: Any, chosen: list[int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """The strongest patches and their deconvnet projections, both (units, count, h, w, c), 0 to 1; no projections for a
    network with `opaque` layers."""
    indices = strongest.images[chosen]
    count = indices.shape[1]
    outside = float(inspection.trained.mean.mean())

    def cut(images: np.ndarray, outside: float) -> np.ndarray:
        """Images (units, count, h, w, c) cut to the units' receptive fields."""
        rows = zip(images, strongest.boxes[chosen], strict=True)
        return np.array([[units.cut(x, box, outside) for x, box in zip(*row, strict=True)] for row in rows])

    patches = cut(inspection.searched[indices] / 255.0, outside)
    if inspection.network.opaque:
        return patches, None
    projected = attribution.of_unit(
        Ruled(inspection.network, ReLURule("deconvnet")), inspection.variables, inputs[indices.ravel()], layer,
        jnp.repeat(jnp.asarray(chosen), count), jnp.asarray(strongest.rows[chosen].ravel()),
        jnp.asarray(strongest.columns[chosen].ravel()),
    )  # fmt: skip
    stretched = [pictures.stretched(x) for x in np.asarray(projected)]
    return patches, cut(np.array(stretched).reshape(*indices.shape, *inspection.network.input_shape), 0.5)


def _below(reached: np.ndarray, natural: np.ndarray) -> str:
    """How many of the images made for units reach less than the strongest natural image, and which units are dead."""
    dead = (reached <= 0) & (natural <= 0)
    below = int(((reached < natural) & ~dead).sum())
    text = f"{below} of {len(reached)} reach less than the strongest natural image"
    return f"{text}, {int(dead.sum())} units are dead" if dead.any() else text


def _words(strongest: Strongest, ids: np.ndarray, synthetic: float, tuned: Tuning, unit: int) -> str:
    """A unit in one or two sentences; `synthetic` is its activation for its synthetic image."""
    natural = float(strongest.values[unit, 0])
    words = f"activation {natural:.2f} for its strongest patch, {synthetic:.2f} for the image made for it"
    if natural <= 0 and synthetic <= 0:
        words += ": a dead unit, which no image here excites"
    elif synthetic < natural:
        words += ", which shows less of it than the patch does"
    if np.isfinite(tuned.selectivity[unit]):
        words += (
            f"; preferred grating {tuned.preferred[unit]:.0f}° at {tuned.frequency[unit]:.2f} cycles per pixel, "
            f"selectivity {tuned.selectivity[unit]:.2f}, bandwidth {tuned.bandwidth[unit]:.0f}°"
        )
    return f"{words}. Patches from images {', '.join(map(str, ids[strongest.images[unit]]))}."


def _kernel_picture(kernel: np.ndarray) -> str:
    if kernel.shape[-1] == 3:
        return explorer.picture(0.5 + 0.5 * kernel)
    return explorer.picture(pictures.painted(kernel.mean(-1), pictures.DIVERGING, -1, 1))


def _curve(tuned: Tuning, unit: int) -> str:
    """A unit's tuning curve as a small SVG in a data URI; "" for a unit that never responds."""
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
    """For each image and each layer with maps, the activation maps of the layer's units stacked vertically."""
    by_image: list[dict[str, str]] = [{} for _ in inspection.shown]
    outputs = inspection.network.activations(inspection.variables, inspection.images)
    for layer in layers:
        if outputs[layer.name].ndim != 4:
            continue
        maps = np.asarray(outputs[layer.name])[..., [card.unit for card in layer.units]]
        for image_maps, by_layer in zip(maps, by_image, strict=True):
            largest = max(float(np.abs(image_maps).max()), 1e-12)
            strip = np.moveaxis(image_maps, -1, 0).reshape(-1, image_maps.shape[1])
            by_layer[layer.name] = explorer.picture(pictures.painted(strip, pictures.DIVERGING, -largest, largest))
    return by_image
