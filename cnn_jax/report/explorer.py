"""The interactive part of a page: choose a layer, then a unit; choose an image. It uses radio buttons for keyboard and
screen reader support; without the script the figures below still show everything."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from cnn_jax.report import assets


@dataclass(frozen=True)
class UnitCard:
    """One unit: pictures as data URIs ("" if missing) and words. `made` is its synthetic image, `projected` the
    deconvnet projections of its strongest patches."""

    unit: int
    words: str
    kernel: str = ""
    made: str = ""
    patches: str = ""
    projected: str = ""
    tuning: str = ""


@dataclass(frozen=True)
class LayerCard:
    name: str
    facts: str
    units: list[UnitCard]
    note: str = ""


@dataclass(frozen=True)
class ImageCard:
    """An image and the network's response. `maps`: for each layer the maps of its units stacked in one picture, all of
    the same height. `attributions` in the order of the methods."""

    title: str
    picture: str
    probabilities: list[tuple[str, float | None]]  # None: not a number
    votes: str = ""
    maps: dict[str, str] = field(default_factory=dict)
    attributions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class MethodCard:
    name: str
    words: str
    good: bool


def picture(values: np.ndarray) -> str:
    """A data URI of a PNG of values 0 to 1: (h, w), (h, w, 1), (h, w, 3) or, with alpha, (h, w, 4)."""
    array = np.clip(np.nan_to_num(values) * 255 + 0.5, 0, 255).astype(np.uint8)
    array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def drawing(svg: str) -> str:
    """A data URI of an SVG."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def as_json(data: Any) -> str:
    """JSON for a script element: without tags or comments."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def explorer(layers: Sequence[LayerCard], images: Sequence[ImageCard], methods: Sequence[MethodCard]) -> str:
    """The section as HTML, data and script included."""
    data = {
        "layers": [asdict(layer) for layer in layers],
        "images": [asdict(image) for image in images],
        "methods": [asdict(method) for method in methods],
    }
    return (
        f"<style>{assets.text('explorer.css')}</style>"
        '<section aria-labelledby="explore"><h2 id="explore">Look inside</h2>'
        "<p>Choose a layer and a unit, or an image: with the mouse, or with Tab and the arrow keys.</p>"
        '<noscript><p class="remark">Choosing needs JavaScript; all figures below are there without it.</p></noscript>'
        '<fieldset id="layers" class="choices"><legend>Layer, in order of execution</legend></fieldset>'
        '<fieldset id="units" class="choices small"><legend>Unit</legend></fieldset>'
        '<div id="unit" class="panel" role="region" aria-live="polite" aria-label="The chosen unit"></div>'
        '<fieldset id="images" class="choices pictures"><legend>Image</legend></fieldset>'
        '<div id="image" class="panel" role="region" aria-live="polite" aria-label="The chosen image"></div>'
        f'<script type="application/json" id="data">{as_json(data)}</script>'
        f"<script>{assets.text('explorer.js')}</script></section>"
    )
