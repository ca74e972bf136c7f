"""Pages in a real browser, figures as real files."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
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
    header = (sweep / "best" / "seeds.csv").read_text().splitlines()[0]
    assert header == "seed,validation_accuracy,validation_loss,test_accuracy,test_loss,examples"
    tested = [path for path in sweep.glob("trials/*/result.json") if '"test": null' not in path.read_text()]
    assert len(tested) == 2, "the test split is scored for the seeds of the chosen cell and for nothing else"
    for name in ("heatmap.png", "curves.png"):
        image = Image.open(sweep / name).convert("L")
        assert image.width > 600
        assert len(set(image.tobytes())) > 50  # something is drawn


def test_a_page_loads_nothing(sweep):
    for page in (sweep / "report.html", sweep / "best" / "report.html"):
        text = page.read_text()
        assert not re.search(r"(src|href)=[\"'](?!data:)", text)
        assert "<script" not in text
        assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", text))


def test_a_page_in_a_real_browser(sweep, tmp_path):
    """Chromium renders it without a message on its console; the screenshot is not empty."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        message = "no Chromium here"
        if "chromium" in os.environ.get("CNN_JAX_TEST_REQUIRE", ""):
            pytest.fail(message)
        pytest.skip(message)
    shot = tmp_path / "page.png"
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--window-size=1000,1600",
            f"--screenshot={shot}", (sweep / "report.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr
    colours = Image.open(shot).convert("RGB").getcolors(1 << 20)
    assert colours is None or len(colours) > 100
    if keep := os.environ.get("CNN_JAX_KEEP_SCREENSHOT"):
        shutil.copyfile(shot, Path(keep))
