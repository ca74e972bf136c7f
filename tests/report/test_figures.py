"""Figures as files, and as parts of a page."""

import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnn_jax.report import figures, page, pictures, plots, saving

SUMMARY = pd.DataFrame(
    {"learning_rate": [0.02, 0.05, 0.3], "median": [0.5, 0.9, 0.8], "q1": [0.4, 0.8, 0.7], "q3": [0.6, 0.95, 0.9]}
)


def small():
    return plots.mistakes(np.array([[3, 1], [0, 4]]), ["a", "b"])


def letters(path):
    """The texts of an SVG written with fonts, not outlines."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_vector_figures_have_no_caption_and_are_equal_when_written_again(tmp_path):
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        saving.save(small(), tmp_path / "a", "Only the PNG says this.")
        saving.save(small(), tmp_path / "b")
    assert "predicted class" in letters(tmp_path / "a.svg")
    assert not [text for text in letters(tmp_path / "a.svg") if "Only" in text]
    assert b"CreationDate" not in (tmp_path / "a.pdf").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    height = [int.from_bytes((tmp_path / f"{name}.png").read_bytes()[20:24], "big") for name in "ab"]
    assert 10 < height[0] - height[1] < 100  # the caption is below
    one, other = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "ab")
    np.testing.assert_array_equal(one[: height[1]], other)
    assert one[height[1] :].min() < 150


def test_a_process_beside_saves_what_this_one_would(tmp_path):
    here = []
    with saving.Beside() as beside:
        for name in ("a", "b"):
            beside.save(small(), tmp_path / name, "A caption", here.append)
        unsent = small()
        unsent.axes[0].xaxis.set_major_formatter(lambda x, _: f"{x:.0f}")
        beside.save(unsent, tmp_path / "c", "", lambda *given: here.append(given))
    saving.save(small(), tmp_path / "a own", "A caption")
    for name in ("a", "b"):
        assert (tmp_path / f"{name}.png").read_bytes() == (tmp_path / "a own.png").read_bytes()
        assert (tmp_path / f"{name}.pdf").read_bytes() == (tmp_path / "a own.pdf").read_bytes()
    assert [given[1] for given in here] == [tmp_path / "c"]


def test_what_goes_wrong_beside_is_raised_here(tmp_path):
    with pytest.raises(FileNotFoundError), saving.Beside() as beside:
        beside.save(small(), tmp_path / "missing" / "a", "", print)


def test_a_figure_is_saved_here_if_the_process_beside_has_died(tmp_path):
    with saving.Beside() as beside:
        beside.process.kill()
        beside.save(small(), tmp_path / "a", "", saving.save)
    assert Image.open(tmp_path / "a.png").size[0] > 100


def test_figures_share_a_page_without_sharing_ids(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        saving.save(small() if name == "one" else pictures.filters(np.zeros((2, 3, 3, 1))), tmp_path / name / "figure")
    text = "".join(page.figure(tmp_path / name / "figure", "alt & more", "caption") for name in ("one", "two"))
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 10
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert used
    assert set(used) <= set(ids)
    assert "alt &amp; more" in text
    assert "#000000" not in text, "black is the colour of the text, light in dark mode"


def test_a_very_large_figure_is_a_picture(tmp_path):
    figure, axes = figures.subplots(figsize=(2, 2))
    axes.plot(np.random.default_rng(0).random(60_000), ",")
    saving.save(figure, tmp_path / "noise")
    text = page.figure(tmp_path / "noise", "noise", "caption")
    assert 'width="200" src="data:image/png' in text
    assert "<svg" not in text


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ([1, 2, 3, 4], False), ([8, 16, 32, 64], True), ([0.01, 0.1], True), ([1, 2], False), ([0, 1, 10, 100], False),
        ([5], False), ([0.02, 0.05, 0.1], True), ([10, 20, 40, 50], False),
    ],
)  # fmt: skip
def test_values_that_multiply_are_on_a_logarithmic_axis(values, logarithmic):
    assert figures.needs_log_axis(values) == logarithmic


@pytest.mark.parametrize("values", [[0.02, 0.05, 0.3], [8, 16, 24], ["relu", "tanh", "gelu"]])
def test_ticks_are_the_values_of_the_grid(values):
    summary = SUMMARY.assign(learning_rate=values)
    figure = figures.curves(summary, ["learning_rate"], [[] for _ in values])
    axis = figure.axes[0].xaxis
    assert [text.get_text() for text in axis.get_ticklabels()] == list(map(str, values))
    assert not len(axis.get_minorticklocs())


def test_a_mosaic_shows_every_pixel(tmp_path):
    """Each place of a row holds its image, nothing else is opaque, and the gaps are a tenth or so."""
    image = np.linspace(0, 1, 20).reshape(5, 4, 1)
    strip, filled = pictures._side_by_side([image, None, image])
    assert 0.85 < filled < 0.95
    assert (strip[..., 3] == 1).sum() == 2 * 4 * image.size
    shown = strip[strip[..., 3] == 1][:, 0]
    assert sorted(shown) == sorted(np.tile(image.ravel(), 8))
