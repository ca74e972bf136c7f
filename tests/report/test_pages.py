"""Pages in a real browser, figures as real files."""

import re

import pytest
from browser import chromium
from commands import finish
from PIL import Image


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "out"
    code, _, err = finish(
        "experiments/sweep.py", "--network", "conv3-4 relu max2 dense-10", "--epochs", "2", "--learning-rates", "0.01",
        "0.1", "10", "--filters", "2", "4", "--seeds", "2", "--out", out,
    )  # fmt: skip
    assert code == 0, err
    return out


def test_a_sweep_leaves_the_contracts_files(sweep):
    for name in (
        "config.json", "results.csv", "summary.csv", "summary.md", "summary.tex", "heatmap.png", "curves.png",
        "record.json", "report.html", "best/result.json", "best/seeds.csv", "best/checkpoints", "best/report.html",
    ):  # fmt: skip
        assert (sweep / name).exists(), name
    contract = ["seed", "validation_accuracy", "validation_loss", "test_accuracy", "test_loss", "examples"]
    header = (sweep / "best" / "seeds.csv").read_text().splitlines()[0].split(",")
    assert [name for name in header if name in contract] == contract
    tested = [path for path in sweep.glob("trials/*/result.json") if '"test": null' not in path.read_text()]
    assert len(tested) == 2, "the test split is scored for the seeds of the chosen cell and for nothing else"
    for name in ("heatmap.png", "curves.png"):
        image = Image.open(sweep / name).convert("L")
        assert image.width > 600
        assert len(set(image.tobytes())) > 50  # something is drawn
    assert {path.suffix for path in sweep.glob("curves.*")} == {".png", ".pdf", ".svg"}


def test_a_page_loads_nothing(sweep):
    for page in (sweep / "report.html", sweep / "best" / "report.html"):
        text = page.read_text()
        assert not re.search(r"(src|href)=[\"'](?!data:|#)", text)
        assert "<script" not in text
        drawn = re.findall(r"<(?:img|svg)[^>]*>", text)
        assert drawn
        assert all(re.search(r'(alt|aria-label)="[^"]+"', tag) for tag in drawn)


def test_a_page_in_a_real_browser(sweep, tmp_path):
    """Chromium renders it without a message on its console; the screenshot is not empty."""
    with chromium(tmp_path / "profile") as browser:
        browser.open(sweep / "report.html")
        assert browser.console() == []
        browser.screenshot(tmp_path / "page.png")
    colours = Image.open(tmp_path / "page.png").convert("RGB").getcolors(1 << 20)
    assert colours is None or len(colours) > 100
