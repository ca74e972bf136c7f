"""The page about a trained network: from the command, in a real browser, with everything that can go wrong."""

import json
import os
import re

import filelock
import numpy as np
import pytest
import torchvision_outputs
from browser import DOWN, RIGHT, TAB, chromium
from commands import ROOT, finish, refused
from PIL import Image

from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.report.inspect.inspection import layers_to_show
from cnn_jax.runs.model import TrainedModel

NETWORK = "conv3-6:same relu max2 conv3-8:same relu max2 dense-10"
THREE = ROOT / "docs" / "three.png"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Made once for all workers, as is the page: it takes a minute."""
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "seen"
    with filelock.FileLock(f"{out}.lock"):
        if not out.exists():
            code, _, err = finish(
                "experiments/train.py", "--network", NETWORK, "--epochs", "4", "--learning-rate", "0.05", "--keep-all",
                "--out", out,
            )  # fmt: skip
            assert code == 0, err
    return out


@pytest.fixture(scope="module")
def page(run):
    index = run / "insight" / "index.html"
    with filelock.FileLock(f"{run}.lock"):
        if not index.exists():
            code, out, err = finish("-m", "cnn_jax", "see", run, "--images", THREE, "--count", "8")
            assert code == 0, err
            assert out.strip() == str(index)
    return index


def test_a_small_network_is_seen(tmp_path):
    code, _, err = finish(
        "experiments/train.py", "--network", "conv3-2 relu dense-10", "--epochs", "1", "--out", tmp_path / "run"
    )
    assert code == 0, err
    code, _, err = finish(
        "-m", "cnn_jax", "see", tmp_path / "run", "--images", THREE, "--count", "0", "--layers", "conv1"
    )
    assert code == 0, err
    record = json.loads((tmp_path / "run" / "insight" / "record.json").read_text())
    assert {stamp["n"] for stamp in record["stamps"]} == {32}, "one image, checked with others of the validation split"
    page = (tmp_path / "run" / "insight" / "index.html").read_text()
    for name in ("attributions", "filters", "units-conv1", "loss-plane", "confusion"):
        drawn = (tmp_path / "run" / "insight" / f"{name}.svg").read_text()
        for path in re.findall(r' d="[^"]+"', drawn):
            assert path in page, name
        assert (tmp_path / "run" / "insight" / f"{name}.pdf").read_bytes().startswith(b"%PDF"), name


@pytest.mark.slow
def test_every_figure_is_a_png_with_its_data(page):
    names = {path.stem for path in page.parent.glob("*.png")}
    assert names == {
        "attributions", "checks", "filters", "maps", "tuning", "confusion", "calibration", "surest-mistakes",
        "loss-along-gradient", "loss-plane", "loss-trajectory", "curvature", "units-conv1", "units-max1",
        "units-relu2", "units-max2", "units-dense1",
    }  # fmt: skip
    for name in names:
        with np.load(page.parent / f"{name}.npz") as data:
            assert data.files
        assert len(set(Image.open(page.parent / f"{name}.png").convert("L").tobytes())) > 30, name
    record = json.loads((page.parent / "record.json").read_text())
    assert len(record["stamps"]) == 8
    assert record["seconds"]["all"] > 0
    with np.load(page.parent / "attributions.npz") as data:
        assert data["images"].shape == (9, 8, 8, 1)


@pytest.mark.slow
def test_the_page_loads_nothing_and_says_what_failed(page):
    text = page.read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", text)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    record = json.loads((page.parent / "record.json").read_text())
    failed = [stamp for stamp in record["stamps"] if stamp["rank_correlation"] > 0.5]
    assert text.count('"good": false') == len(failed)


CONTRAST = """
const luminance = colour => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => {
    v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = node => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (!/, 0\\)$/.test(colour) && colour !== 'transparent') return colour; }
  return getComputedStyle(document.body).backgroundColor; };
const bad = [];
for (const node of document.querySelectorAll('body *')) {
  const own = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
  if (!own || !node.getClientRects().length || ['SCRIPT', 'STYLE'].includes(node.tagName)) continue;
  const [a, b] = [getComputedStyle(node).color, behind(node)].map(luminance).sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) bad.push(node.tagName + ' ' + node.textContent.slice(0, 30) + ' ' + ratio.toFixed(2)); }
return bad;
"""
NAMES = """
const bad = [];
for (const image of document.querySelectorAll('img')) if (!image.alt) bad.push('img without alt');
for (const canvas of document.querySelectorAll('canvas')) if (!canvas.ariaLabel) bad.push('canvas without a name');
for (const input of document.querySelectorAll('input')) {
  const label = input.closest('label');
  if (!label || !(label.textContent.trim() || label.querySelector('img').alt)) bad.push('input without a label'); }
for (const set of document.querySelectorAll('fieldset')) if (!set.querySelector('legend')) bad.push('no legend');
const levels = [...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1]);
levels.forEach((level, i) => { if (i && level > levels[i - 1] + 1) bad.push('heading skips a level'); });
const ids = [...document.querySelectorAll('[id]')].map(node => node.id);
if (new Set(ids).size !== ids.length) bad.push('an id twice');
if (!document.documentElement.lang || !document.title) bad.push('no language or title');
if (document.querySelectorAll('main').length !== 1) bad.push('main');
return bad;
"""


def words(browser, where):
    return browser.run(f"return document.getElementById('{where}').textContent")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_real_browser(page, tmp_path, scheme):
    with chromium(tmp_path / "profile") as browser:
        browser.prefer(scheme)
        browser.open(page)
        assert browser.run("return matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
        assert browser.run(NAMES) == []
        assert browser.run(CONTRAST) == []
        assert browser.run("return document.querySelectorAll('#layers input').length") == 5
        assert "conv1, unit 0" in words(browser, "unit")
        browser.click("#layers label:nth-of-type(3)")
        assert "relu2, unit 0" in words(browser, "unit")
        browser.click("#units label:nth-of-type(3)")
        assert "relu2, unit 2" in words(browser, "unit")
        # A unit that no image excites has no picture of its own.
        assert browser.run("return document.querySelectorAll('#unit img, #unit canvas').length") in (4, 5)
        browser.click("#images label:nth-of-type(2)")
        assert "validation image 0" in words(browser, "image")
        assert browser.run("return document.querySelectorAll('#image img').length") == 9
        assert browser.run(NAMES) == []
        assert browser.run(CONTRAST) == []
        assert browser.console() == []
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        browser.screenshot(tmp_path / "page.png")
        assert len(Image.open(tmp_path / "page.png").convert("RGB").getcolors(1 << 20) or range(999)) > 100


@pytest.mark.slow
def test_the_page_by_keyboard_alone(page, tmp_path):
    """Tab goes from group to group in the order of the page, arrows choose within one."""
    with chromium(tmp_path / "profile") as browser:
        browser.open(page)
        reached = []
        while not reached or reached[-1] != "images":
            browser.press(TAB)
            reached.append(browser.run("const e = document.activeElement; return e.name || e.id || e.tagName"))
            assert len(reached) < 60
        tools = ["live-image", "live-clear", "live-file", "live-pictures", "live-time", "live-target"]
        assert reached[:6] == tools
        assert reached[-3:] == ["layers", "units", "images"]
        layers = reached[6:-3]
        assert layers == ["SUMMARY", "CANVAS"] * 7
        browser.press(DOWN)
        assert "validation image 0" in words(browser, "image")
        browser.run("document.querySelector('#layers input:checked').focus()")
        browser.press(RIGHT)
        assert "max1, unit 0" in words(browser, "unit")
        browser.run("document.querySelector('#live-stack canvas').focus()")
        assert "conv1, unit 0, row 4, column 4" in words(browser, "live-window")
        browser.press(RIGHT)
        browser.press(DOWN)
        assert "conv1, unit 0, row 5, column 5" in words(browser, "live-window")
        assert browser.console() == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--units", "6", "--layers", "conv1"), "unit 6 of conv1 does not exist; it has 0 to 5"),
        (("--layers", "conv7"), "layer 'conv7' does not exist; there are conv1, relu1, max1, conv2"),
        (("--images", "README.md"), "README.md"),
        (("--images", "no/such.png"), "no/such.png cannot be read: No such file or directory"),
        (("--count", "0"), "there is no image to explain: give --count or --images"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_one_line(run, tmp_path, arguments, expected):
    assert expected in refused("-m", "cnn_jax", "see", run, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_checkpoint_is_refused_in_one_line(run, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "record.json"):
        (bare / name).write_bytes((run / name).read_bytes())
    code, _, err = finish("-m", "cnn_jax", "see", bare)
    assert code == 1
    assert err.strip() == f"error: {bare} has no checkpoints: they are not part of the evidence that is kept", err


@pytest.mark.slow
def test_the_pictures_of_an_imagenet_network_from_a_state_dict(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")  # it computes more than it compiles
    """AlexNet from a file with torchvision's names (random numbers here), without any data set."""
    with np.load(torchvision_outputs.FILE) as file:
        lines = [line.split() for line in file["alexnet state"]]
    np.savez(
        tmp_path / "alexnet.npz",
        **torchvision_outputs.state({key: tuple(map(int, shape)) for key, *shape in lines}),
    )
    out = tmp_path / "seen"
    code, _, err = finish(
        "-m", "cnn_jax", "see", tmp_path / "alexnet.npz", "--network", "alexnet_owt", "--images", THREE, "--layers",
        "conv1", "--units", "0", "--out", out, timeout=1800,
    )  # fmt: skip
    assert code == 0, err
    names = {path.stem for path in out.glob("*.png")}
    assert names == {"attributions", "checks", "filters", "maps", "units-conv1"}
    assert "read from a file" in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv3-4 relu drop0.5 dense-10", ["conv1", "dense1"]),
        ("conv3-4:same bn relu max2 pad1 conv3-4 tanh dense-10", ["conv1", "max1", "tanh1", "dense1"]),
    ],
)
def test_the_layers_shown_are_the_first_convolution_and_the_last_part_of_each(text, shown):
    assert layers_to_show(Network((8, 8, 1), parse(text))) == shown


LOGITS = "live.compute(); return Array.from(live.state.values.at(-1))"


@pytest.mark.slow
def test_the_browser_computes_what_jax_does(run, page, tmp_path):
    """For every picture, at every checkpoint, on a drawing; and the window of a place adds up to its value."""
    trained = TrainedModel.load(run)
    with chromium(tmp_path / "profile") as browser:
        browser.open(page)

        def same(variables):
            pixels = np.array(browser.run("return Array.from(live.state.pixels)")).reshape(1, 8, 8, 1)
            expected = trained.network(variables, trained.normalise(255 * pixels))[0]
            np.testing.assert_allclose(browser.run(LOGITS), expected, atol=1e-4)

        for picture in range(3):
            browser.run(f"live.choosePicture({picture})")
            same(trained.variables)
        count = browser.run("return JSON.parse(document.getElementById('live-data').textContent).checkpoints.length")
        history = trained.history()
        assert count == len(history) + 1 == 6
        for number, (_, variables) in enumerate(history):
            browser.run(f"live.atCheckpoint({number})")
            same(variables)
        browser.run("live.atCheckpoint(5)")
        browser.click("#live-clear")
        browser.click("#live-image")  # a spot in the middle
        assert browser.run("return live.state.pixels.filter(x => x > 0).length") > 0
        same(trained.variables)
        assert words(browser, "live-window") == "Point at a place of a layer below."
        for layer, unit, y, x in ((0, 3, 0, 0), (2, 1, 1, 2), (3, 7, 2, 2), (6, 4, 0, 0)):
            browser.run(f"live.choose(live.layers[{layer}], {unit}, {y}, {x})")
            value = browser.run(
                f"const s = live.layers[{layer}], v = live.state.values[{layer + 1}];"
                f"return v[({y} * s.columns + {x}) * s.step.shape.at(-1) + {unit}]"
            )
            text = words(browser, "live-window")
            assert f"unit {unit}" in text
            numbers = [float(part) for part in re.findall(r"-?\d+\.\d\d", text)]
            assert any(abs(number - value) <= 0.006 * max(1, abs(value)) for number in numbers)
            assert browser.run(NAMES) == []
            assert browser.run(CONTRAST) == []
        found = browser.run(SUMS)
        np.testing.assert_allclose(found["sum"], found["value"], atol=1e-9)
        assert browser.console() == []


SUMS = """
const step = live.layers[3].step, values = live.state.values, [oh, ow, filters] = step.shape;
const [h, w, channels] = [4, 4, 6];
const { kernel, bias } = live.state.weights[3];
let sum = bias[7];
for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) for (let c = 0; c < channels; c++)
  sum += values[3][((1 + a) * w + 1 + b) * channels + c] * kernel[((a * 3 + b) * channels + c) * filters + 7];
return { sum, value: values[4][(2 * ow + 2) * filters + 7] };
"""
