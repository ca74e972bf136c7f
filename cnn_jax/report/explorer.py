"""The interactive part of a page: choose a layer, then a unit; choose an image. It uses radio buttons for keyboard and
screen reader support; without the script the figures below still show everything."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from matplotlib import colormaps
from PIL import Image


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
    """A data URI of a PNG of values 0 to 1: (h, w), (h, w, 1) or (h, w, 3)."""
    array = np.clip(np.nan_to_num(values) * 255 + 0.5, 0, 255).astype(np.uint8)
    array = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def coloured(values: np.ndarray, colours: str, low: float, high: float) -> str:
    """A data URI of a PNG of an array (h, w), coloured by a matplotlib colour map from `low` to `high`."""
    scaled = (values - low) / (high - low if high > low else 1.0)
    return picture(colormaps[colours](np.clip(scaled, 0, 1))[..., :3])


def drawing(svg: str) -> str:
    """A data URI of an SVG."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def explorer(layers: Sequence[LayerCard], images: Sequence[ImageCard], methods: Sequence[MethodCard]) -> str:
    """The section as HTML, data and script included."""
    data = {
        "layers": [asdict(layer) for layer in layers],
        "images": [asdict(image) for image in images],
        "methods": [asdict(method) for method in methods],
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")  # no tags or comments
    return (
        f"<style>{_STYLE}</style>"
        '<section aria-labelledby="explore"><h2 id="explore">Look inside</h2>'
        "<p>Choose a layer and a unit, or an image: with the mouse, or with Tab and the arrow keys.</p>"
        '<noscript><p class="remark">Choosing needs JavaScript; all figures below are there without it.</p></noscript>'
        '<fieldset id="layers" class="choices"><legend>Layer, in order of execution</legend></fieldset>'
        '<fieldset id="units" class="choices small"><legend>Unit</legend></fieldset>'
        '<div id="unit" class="panel" role="region" aria-live="polite" aria-label="The chosen unit"></div>'
        '<fieldset id="images" class="choices pictures"><legend>Image</legend></fieldset>'
        '<div id="image" class="panel" role="region" aria-live="polite" aria-label="The chosen image"></div>'
        f'<script type="application/json" id="data">{text}</script><script>{_SCRIPT}</script></section>'
    )


_STYLE = """
.choices { border: 1px solid var(--line); margin: .6rem 0; padding: .4rem .6rem; display: flex; flex-wrap: wrap;
  gap: .25rem; max-height: 15rem; overflow-y: auto; min-width: 0; }
.choices label { cursor: pointer; }
.choices input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.choices span { display: inline-block; border: 2px solid var(--line); border-radius: 4px; padding: .1rem .45rem;
  font-size: .85rem; }
.choices input:checked + span { background: var(--mark); border-color: var(--ink); font-weight: 600; }
.choices input:focus-visible + span { outline: 3px solid #0072b2; outline-offset: 1px; }
.pictures span { padding: 2px; line-height: 0; } .pictures img { width: 44px; height: 44px; }
.panel { display: flex; flex-wrap: wrap; gap: 1rem; margin: .6rem 0 1.2rem; align-items: flex-start; }
.panel figure { margin: 0; max-width: 100%; } .panel figcaption { max-width: 15rem; font-size: .8rem; }
.panel img, .pictures img { image-rendering: pixelated; background: #fff; border: 1px solid var(--line); }
.panel p { flex-basis: 100%; margin: 0; } .fails { color: #b00000; font-weight: 600; }
@media (prefers-color-scheme: dark) { .fails { color: #ff8a80; } }
.bars { display: grid; grid-template-columns: auto 7rem auto; gap: .1rem .5rem; font-size: .8rem; align-items: center; }
.bars i { display: block; height: .7rem; background: #0072b2; }
@media print { .choices { max-height: none; } }
"""

_SCRIPT = """
const data = JSON.parse(document.getElementById('data').textContent);
const chosen = { layer: 0, unit: 0, image: 0 };
const at = id => document.getElementById(id);

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// Radio buttons, the first checked; draw(i) is called when button i is chosen.
function choices(id, items, draw) {
  const box = at(id);
  while (box.children.length > 1) box.lastChild.remove();
  items.forEach((item, i) => {
    const input = element('input', { type: 'radio', name: id, value: i, checked: i === 0 });
    input.addEventListener('change', () => draw(i));
    box.append(element('label', {}, input, element('span', {}, item)));
  });
  if (items.length) draw(0);
}

function figure(source, alt, caption, width) {
  const image = element('img', { src: source, alt: alt });
  if (width) image.style.width = width + 'px';
  return element('figure', {}, image, element('figcaption', {}, caption));
}

function drawUnit() {
  const layer = data.layers[chosen.layer], unit = layer.units[chosen.unit], parts = [];
  const name = layer.name + ', unit ' + unit.unit, image = data.images[chosen.image];
  parts.push(element('p', {}, name + ': ' + unit.words));
  if (unit.kernel) parts.push(figure(unit.kernel, 'Filter of ' + name, 'filter', 110));
  if (image && image.maps[layer.name]) parts.push(mapOf(image, layer, name));
  if (unit.made) parts.push(figure(unit.made, 'Synthetic image that excites ' + name, 'synthetic image', 140));
  if (unit.patches) parts.push(figure(unit.patches, 'Strongest patches of ' + name, 'strongest patches', 190));
  if (unit.projected) {
    parts.push(figure(unit.projected, 'Deconvnet projections of ' + name, 'deconvnet of these patches', 190));
  }
  if (unit.tuning) parts.push(figure(unit.tuning, 'Tuning curve of ' + name, 'orientation tuning'));
  at('unit').replaceChildren(...parts);
}

// Cuts the unit's map out of the layer's strip of stacked maps.
function mapOf(image, layer, name) {
  const canvas = element('canvas', {}), strip = new Image();
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', 'Activation map of ' + name + ' for ' + image.title);
  canvas.style.width = '140px';
  canvas.style.imageRendering = 'pixelated';
  const unit = chosen.unit;
  strip.onload = () => {
    const height = strip.height / layer.units.length;
    canvas.width = strip.width;
    canvas.height = height;
    canvas.getContext('2d').drawImage(strip, 0, -unit * height);
  };
  strip.src = image.maps[layer.name];
  return element('figure', {}, canvas, element('figcaption', {}, 'activation map for the chosen image'));
}

function drawImage() {
  const image = data.images[chosen.image], bars = element('div', { className: 'bars' });
  for (const [name, value] of image.probabilities) {
    const bar = element('i', {}), words = value === null ? 'not a number' : (100 * value).toFixed(1) + ' %';
    bar.style.width = Math.max(100 * value, 0.5) + '%';
    bars.append(element('span', {}, name), bar, element('span', {}, words));
  }
  const parts = [element('p', {}, image.title), figure(image.picture, image.title, 'the image', 140),
    element('figure', {}, bars, element('figcaption', {}, 'probabilities'))];
  if (image.votes) parts.push(element('p', {}, image.votes));
  data.methods.forEach((method, i) => {
    const shown = figure(image.attributions[i], method.name + ' for ' + image.title, '', 140);
    const words = element('span', { className: method.good ? '' : 'fails' }, method.words);
    shown.lastChild.append(element('strong', {}, method.name), ' ', words);
    parts.push(shown);
  });
  at('image').replaceChildren(...parts);
}

choices('layers', data.layers.map(layer => layer.name), i => {
  chosen.layer = i;
  const layer = data.layers[i];
  at('units').firstChild.textContent = 'Unit of ' + layer.name + ' (' + layer.facts + ')' + layer.note;
  choices('units', layer.units.map(unit => String(unit.unit)), j => { chosen.unit = j; drawUnit(); });
});
choices('images', data.images.map(image => element('img', { src: image.picture, alt: image.title })), i => {
  chosen.image = i;
  drawImage();
  if (data.layers.length) drawUnit();
});
"""
