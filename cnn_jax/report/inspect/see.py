"""Writes the inspection page of a trained network."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from cnn_jax.data import Split
from cnn_jax.report import explorer, page
from cnn_jax.report.explorer import MethodCard
from cnn_jax.report.inspect import attributions, course, units
from cnn_jax.report.inspect.attributions import Explanations, explain
from cnn_jax.report.inspect.course import curvature_along
from cnn_jax.report.inspect.figure_writer import FigureWriter
from cnn_jax.report.inspect.inspection import Inspection, Request
from cnn_jax.report.inspect.live import live_section
from cnn_jax.report.inspect.overview import classification_mistakes, loss_surfaces, orientation, receptive_fields
from cnn_jax.report.inspect.units import inspect_units, strips
from cnn_jax.report.own_figures import registered_figures
from cnn_jax.runs.model import TrainedModel

MOST_NAMED = 12  # layers listed at a glance
ORDER = (
    attributions.SECTION, units.SECTION, "Receptive fields", "Orientation tuning", "Loss landscape", course.SECTION,
    "Mistakes",
)  # fmt: skip


def see(trained: TrainedModel, split: Split | None, out: Path, request: Request, command: str, show: bool) -> Path:
    """Writes index.html, every figure as PNG with its data as NPZ, and record.json.

    Args:
        trained: the network.
        split: labelled validation images; without them the parts that need labels are omitted.
        out: the folder to write to.
        request: the images, layers and units to inspect.
        command: the command line, for the page and the record.
        show: announce each part on standard error.

    Returns:
        The path of index.html.

    Raises:
        RequestError: a layer, unit or image that does not exist; nothing is written.
        DataError: an image that does not fit the network; nothing is written.
        RunError: a registered figure fails.
    """
    inspection = Inspection.of(trained, split, request)
    writer, started, wants = FigureWriter(out, show, ORDER), time.perf_counter(), inspection.wants
    parts: dict[str, Callable[[], Any]] = {}  # the longest first
    if wants("units"):
        parts["units"] = lambda: inspect_units(inspection, writer)
    if wants("explanations"):
        parts["explanations"] = lambda: explain(inspection, writer)
    if wants("loss-surfaces") and split is not None and inspection.history:
        parts["loss surfaces"] = lambda: loss_surfaces(inspection, writer, split)
    if wants("curvature") and split is not None and inspection.history:
        parts["curvature"] = lambda: curvature_along(inspection, writer, split)
    if wants("mistakes") and split is not None:
        parts["mistakes"] = lambda: classification_mistakes(inspection, writer, split)
    if wants("receptive-fields"):
        parts["receptive fields"] = lambda: receptive_fields(inspection, writer)
    if wants("tuning"):
        parts["orientation tuning"] = lambda: orientation(inspection, writer)
    precision = trained.config.precision
    results = writer.run({name: _in_precision(work, precision) for name, work in parts.items()})
    explanations, layers = results.get("explanations", Explanations([], [], 0.0)), results.get("units", [])
    with jax.default_matmul_precision(precision):
        if wants("figures"):
            registered_figures(inspection, writer)
        if layers:
            for card, maps in zip(explanations.cards, strips(inspection, layers), strict=False):
                card.maps.update(maps)
    methods = [MethodCard(check.method, check.words(), check.depends_on_weights) for check in explanations.checks]
    writer.seconds["all"] = round(time.perf_counter() - started, 2)
    record = _record(inspection, explanations, writer, command)
    writer.folder.write_json("record.json", record)
    sections = [
        page.section("At a glance", page.paragraph(_sentence(inspection)), page.facts(_glance(inspection, writer))),
        *([live_section(inspection)] if wants("live") else []),
        *([explorer.explorer(layers, explanations.cards, methods)] if layers or methods else []),
        *writer.sections(),
        page.section("Run it again", page.command(command), page.record(record)),
    ]
    writer.folder.write_text("index.html", page.page(f"Inside a network: {_data(inspection)}", sections))
    return writer.folder.file("index.html")


def _in_precision(work: Callable[[], Any], precision: str) -> Callable[[], Any]:
    """The same function; JAX's setting is that of a thread."""

    def run() -> Any:
        with jax.default_matmul_precision(precision):
            return work()

    return run


def _glance(inspection: Inspection, writer: FigureWriter) -> list[tuple[str, str]]:
    """The network, and what each section found."""
    nodes = [node for node in inspection.network.walk() if node.parameters]
    layers = ", ".join(f"{node.name} {'x'.join(map(str, node.output))}" for node in nodes[:MOST_NAMED])
    more = f", and {len(nodes) - MOST_NAMED} more" if len(nodes) > MOST_NAMED else ""
    return [("Layers with weights", layers + more), *sorted(writer.found(), key=lambda row: row[0] != "Mistakes")]


def _data(inspection: Inspection) -> str:
    return inspection.trained.config.dataset if inspection.trained.folder else "weights from a file"


def _sentence(inspection: Inspection) -> str:
    config, network = inspection.trained.config, inspection.network
    name = config.network if isinstance(config.network, str) else "a network described in config.json"
    if inspection.trained.folder is None:
        return f"{name}: {network.parameters:,} parameters, read from a file."
    return (
        f"{name}: {network.parameters:,} parameters, trained on {config.dataset} for {config.epochs} epochs, seed "
        f"{config.seed}; one network, n = 1. Images are from the validation split, or supplied by the user."
    )


def _record(inspection: Inspection, explanations: Explanations, writer: FigureWriter, command: str) -> dict[str, Any]:
    folder = inspection.trained.folder
    return {
        "command": command,
        "run": None if folder is None else folder.read_json("record.json"),
        "images": inspection.names,
        "layers": inspection.layers,
        "sections": inspection.request.sections,
        "seed": inspection.request.seed,
        "seconds": writer.seconds,
        "completeness_gap": explanations.gap,
        "stamps": [
            {
                "method": check.method, "n": check.n, "rank_correlation": check.correlation,
                "rank_correlation_95": check.span, "draws": check.draws, "cascade": check.cascade,
                "independent": check.independent, "deletion": check.deletion, "insertion": check.insertion,
                "words": check.words(),
            }
            for check in explanations.checks
        ],
    }  # fmt: skip
