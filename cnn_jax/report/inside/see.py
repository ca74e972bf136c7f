"""From a trained network to a page about it."""

import time
from pathlib import Path
from typing import Any

import jax

from cnn_jax.data import Split
from cnn_jax.report import explorer, page
from cnn_jax.report.explorer import MethodCard
from cnn_jax.report.inside.album import Album
from cnn_jax.report.inside.explaining import Explained, explain
from cnn_jax.report.inside.responding import look_at_units, strips
from cnn_jax.report.inside.subject import Request, Subject
from cnn_jax.report.inside.surveying import loss_surfaces, orientation, receptive_fields, where_it_errs
from cnn_jax.runs.trained import Trained


def see(trained: Trained, split: Split | None, out: Path, request: Request, command: str) -> Path:
    """Writes index.html, every figure as PNG with its data as NPZ, and record.json into the folder `out`; returns the
    page. Without a `split` of labelled images what needs labels is left out. RequestError or DataError, before
    anything is written, for what cannot be looked at."""
    subject = Subject.of(trained, split, request)
    album, started = Album(out), time.perf_counter()
    with jax.default_matmul_precision(trained.config.precision):
        explained = album.timed("explanations", lambda: explain(subject, album))
        layers = album.timed("units", lambda: look_at_units(subject, album))
        album.timed("receptive fields", lambda: receptive_fields(subject, album))
        album.timed("orientation tuning", lambda: orientation(subject, album))
        if split is not None and subject.history:
            album.timed("loss surfaces", lambda: loss_surfaces(subject, album, split))
        if split is not None:
            album.timed("mistakes", lambda: where_it_errs(subject, album, split))
        for card, maps in zip(explained.cards, strips(subject, layers), strict=True):
            card.maps.update(maps)
    methods = [MethodCard(stamp.method, stamp.words(), stamp.depends_on_weights) for stamp in explained.stamps]
    album.seconds["all"] = round(time.perf_counter() - started, 2)
    record = _record(subject, explained, album, command)
    album.folder.write_json("record.json", record)
    parts = [
        page.paragraph(_sentence(subject)),
        explorer.explorer(layers, explained.cards, methods),
        *album.sections(),
        page.section("Run it again", page.command(command), page.record(record)),
    ]
    album.folder.write_text("index.html", page.page(f"Inside a network: {_data(subject)}", parts))
    return album.folder.file("index.html")


def _data(subject: Subject) -> str:
    return subject.trained.config.dataset if subject.trained.folder else "weights from a file"


def _sentence(subject: Subject) -> str:
    config, network = subject.trained.config, subject.network
    name = config.network if isinstance(config.network, str) else "a network described in config.json"
    if subject.trained.folder is None:
        return f"{name}: {network.parameters:,} parameters, read from a file."
    return (
        f"{name}: {network.parameters:,} parameters, trained on {config.dataset} for {config.epochs} epochs, seed "
        f"{config.seed}; one network, n = 1. Images are from the validation split, or given by hand."
    )


def _record(subject: Subject, explained: Explained, album: Album, command: str) -> dict[str, Any]:
    folder = subject.trained.folder
    return {
        "command": command,
        "run": None if folder is None else folder.read_json("record.json"),
        "images": subject.names,
        "layers": subject.layers,
        "seed": subject.request.seed,
        "seconds": album.seconds,
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
