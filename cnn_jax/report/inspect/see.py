"""From a trained network to a page about it."""

import time
from pathlib import Path
from typing import Any

import jax

from cnn_jax.data import Split
from cnn_jax.report import explorer, page
from cnn_jax.report.explorer import MethodCard
from cnn_jax.report.inspect.attributions import Explained, explain
from cnn_jax.report.inspect.figure_writer import FigureWriter
from cnn_jax.report.inspect.inspection import Inspection, Request
from cnn_jax.report.inspect.overview import loss_surfaces, orientation, receptive_fields, where_it_errs
from cnn_jax.report.inspect.units import look_at_units, strips
from cnn_jax.runs.model import TrainedModel


def see(trained: TrainedModel, split: Split | None, out: Path, request: Request, command: str, show: bool) -> Path:
    """Writes index.html, every figure as PNG with its data as NPZ, and record.json into the folder `out`; returns the
    page. Without a `split` of labelled images what needs labels is left out. RequestError or DataError, before
    anything is written, for what cannot be looked at."""
    inspection = Inspection.of(trained, split, request)
    writer, started = FigureWriter(out, show), time.perf_counter()
    with jax.default_matmul_precision(trained.config.precision):
        explained = writer.timed("explanations", lambda: explain(inspection, writer))
        layers = writer.timed("units", lambda: look_at_units(inspection, writer))
        writer.timed("receptive fields", lambda: receptive_fields(inspection, writer))
        writer.timed("orientation tuning", lambda: orientation(inspection, writer))
        if split is not None and inspection.history:
            writer.timed("loss surfaces", lambda: loss_surfaces(inspection, writer, split))
        if split is not None:
            writer.timed("mistakes", lambda: where_it_errs(inspection, writer, split))
        for card, maps in zip(explained.cards, strips(inspection, layers), strict=True):
            card.maps.update(maps)
    methods = [MethodCard(stamp.method, stamp.words(), stamp.depends_on_weights) for stamp in explained.stamps]
    writer.seconds["all"] = round(time.perf_counter() - started, 2)
    record = _record(inspection, explained, writer, command)
    writer.folder.write_json("record.json", record)
    parts = [
        page.paragraph(_sentence(inspection)),
        explorer.explorer(layers, explained.cards, methods),
        *writer.sections(),
        page.section("Run it again", page.command(command), page.record(record)),
    ]
    writer.folder.write_text("index.html", page.page(f"Inside a network: {_data(inspection)}", parts))
    return writer.folder.file("index.html")


def _data(inspection: Inspection) -> str:
    return inspection.trained.config.dataset if inspection.trained.folder else "weights from a file"


def _sentence(inspection: Inspection) -> str:
    config, network = inspection.trained.config, inspection.network
    name = config.network if isinstance(config.network, str) else "a network described in config.json"
    if inspection.trained.folder is None:
        return f"{name}: {network.parameters:,} parameters, read from a file."
    return (
        f"{name}: {network.parameters:,} parameters, trained on {config.dataset} for {config.epochs} epochs, seed "
        f"{config.seed}; one network, n = 1. Images are from the validation split, or given by hand."
    )


def _record(inspection: Inspection, explained: Explained, writer: FigureWriter, command: str) -> dict[str, Any]:
    folder = inspection.trained.folder
    return {
        "command": command,
        "run": None if folder is None else folder.read_json("record.json"),
        "images": inspection.names,
        "layers": inspection.layers,
        "seed": inspection.request.seed,
        "seconds": writer.seconds,
        "completeness_gap": explained.gap,
        "stamps": [
            {
                "method": stamp.method, "n": stamp.n, "rank_correlation": stamp.correlation,
                "rank_correlation_95": stamp.span, "cascade": stamp.cascade, "deletion": stamp.deletion,
                "insertion": stamp.insertion, "words": stamp.words(),
            }
            for stamp in explained.stamps
        ],
    }  # fmt: skip
