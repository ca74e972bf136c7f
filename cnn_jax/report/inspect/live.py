"""The section in which the reader's browser computes the network."""

import base64
from typing import Any

import numpy as np

from cnn_jax.errors import RequestError
from cnn_jax.network import Variables
from cnn_jax.report import assets, explorer, page
from cnn_jax.report.inspect.inspection import Inspection
from cnn_jax.report.inspect.program import ProgramWriter

MOST_BYTES = 5_000_000  # of weights on the page, as base64
MOST_WORK = 100_000_000  # multiply-adds of a forward pass: more is no longer watched, but waited for
PICTURES = 12


def live_section(inspection: Inspection) -> str:
    """The section as HTML with data and scripts, or a paragraph that says why there is none."""
    network = inspection.network
    try:
        writer = ProgramWriter(network)
    except RequestError as error:
        return page.section("Watch it compute", page.paragraph(f"Not for this network: {error}."))
    large = len(writer.weights(inspection.variables)) > MOST_BYTES
    if large or network.multiply_adds > MOST_WORK:
        reason = (
            f"{network.parameters:,} parameters and {network.multiply_adds:,} multiply-adds are too many for a page."
        )
        return page.section("Watch it compute", page.paragraph(reason))
    data = {
        "program": writer.program(inspection.variables),
        "checkpoints": [
            {"title": title, "weights": writer.weights(own)} for title, own in _checkpoints(inspection, writer)
        ],
        "mean": np.atleast_1d(inspection.trained.mean).tolist(), "std": np.atleast_1d(inspection.trained.std).tolist(),
        "names": list(inspection.trained.class_names),
        "pictures": [
            {"title": name, "shown": explorer.picture(image / 255.0), "pixels": base64.b64encode(image).decode()}
            for name, image in zip(inspection.names[:PICTURES], inspection.shown, strict=False)
        ],
    }  # fmt: skip
    return (
        f"<style>{assets.text('live.css')}</style>{assets.text('live.html')}"
        f'<script type="application/json" id="live-data">{explorer.as_json(data)}</script>'
        f"<script>{assets.text('compute.js')}{assets.text('live.js')}</script>"
    )


def _checkpoints(inspection: Inspection, writer: ProgramWriter) -> list[tuple[str, Variables]]:
    """The weights to scrub through, the final ones last: as many as fit, evenly spaced over training."""
    last: tuple[str, Any] = ("the final weights", inspection.variables)
    room = MOST_BYTES // max(len(writer.weights(inspection.variables)), 1) - 1
    history = [(f"after step {step:,}" if step else "before training", v) for step, v in inspection.history]
    if room < 1 or not history:
        return [last]
    chosen = sorted({round(i) for i in np.linspace(0, len(history) - 1, min(room, len(history)))})
    return [*(history[i] for i in chosen), last]
