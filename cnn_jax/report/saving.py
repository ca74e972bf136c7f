"""Writes figures as files, in this process or in one beside it: to draw is work of Python, which only one thread of a
process can do at a time. Captions stand below the PNG only, for those who see it without its text; PDF and SVG have
none.

    python -m cnn_jax.report.saving

saves the figures that it reads, as pickles, from its standard input, and answers each with an error or None.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from cnn_jax.errors import writing

DOTS = 200  # per inch
LETTERS, LINE = 17, 0.135  # of a caption: letters per inch, and inches per line


def save(figure: Figure, stem: Path, caption: str = "") -> None:
    """Writes STEM.pdf and STEM.svg, transparent, and STEM.png, 200 dots per inch, white, with the caption below."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")  # once is enough
    with _transparent(figure), matplotlib.rc_context({"svg.hashsalt": stem.name}):  # equal figures are equal files
        # Not by savefig, which draws everything twice.
        with writing(path := stem.with_name(stem.name + ".pdf")):
            FigureCanvasPdf(figure).print_pdf(path, metadata={"CreationDate": None})
        with writing(path := stem.with_name(stem.name + ".svg")):
            FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
    parts = [_pixels(figure)]
    if caption:
        parts.append(_pixels(_below(caption, figure.get_figwidth())))
    path = stem.with_name(stem.name + ".png")
    with writing(path):
        Image.fromarray(np.concatenate(parts)).save(path, dpi=(DOTS, DOTS))


@contextlib.contextmanager
def _transparent(figure: Figure) -> Iterator[None]:
    """Without what is behind the plots, for a while."""
    patches = [figure.patch, *(plot.patch for plot in figure.axes)]
    colours = [patch.get_facecolor() for patch in patches]
    for patch in patches:
        patch.set_facecolor("none")
    yield
    for patch, colour in zip(patches, colours, strict=True):
        patch.set_facecolor(colour)


def plain(text: str) -> str:
    """Escapes dollar signs, which matplotlib would read as a formula."""
    return text.replace("$", r"\$")


def _below(caption: str, width: float) -> Figure:
    """A caption as a figure of its own, `width` inches wide."""
    lines = textwrap.wrap(caption, int(LETTERS * width))
    height = LINE * (len(lines) + 1)
    figure = Figure(figsize=(width, height))
    figure.text(0.5, 1.0, plain("\n".join(lines)), ha="center", va="top", fontsize=7, color="0.3")
    return figure


def _pixels(figure: Figure) -> np.ndarray:
    """The figure on white, uint8 (h, w, 3)."""
    figure.set_dpi(DOTS)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


_started: list[subprocess.Popen] = []  # by `start`, not yet used


def start() -> None:
    """Starts a process for the next `Beside`, which is ready sooner: it takes two seconds to import matplotlib."""
    command = [sys.executable, "-P", "-W", "ignore", "-m", "cnn_jax.report.saving"]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    _started.append(
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0,
            env={**os.environ, "PYTHONPATH": path},
        )
    )  # fmt: skip


class Beside:
    """A process that saves figures. Use it as a context: at its end all are saved, or the first error is raised."""

    def __init__(self) -> None:
        if not _started:
            start()
        self.process = _started.pop()
        self.thread = ThreadPoolExecutor(1, "figures")
        self.saved: list[Future[None]] = []

    def __enter__(self) -> "Beside":
        return self

    def save(self, figure: Figure, stem: Path, caption: str, here: Callable[[Figure, Path, str], None]) -> None:
        """As the function `save`, some time later; by `here` if it cannot be sent."""
        self.saved.append(self.thread.submit(self._save, figure, stem, caption, here))

    def _save(self, figure: Figure, stem: Path, caption: str, here: Callable[[Figure, Path, str], None]) -> None:
        try:
            sent = pickle.dumps((figure, stem, caption))
        except Exception:  # a figure may hold anything
            here(figure, stem, caption)
            return
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(sent)
            self.process.stdin.flush()
            error = pickle.load(self.process.stdout)
        except (OSError, EOFError):  # it has ended
            here(figure, stem, caption)
            return
        if error is not None:
            raise error

    def __exit__(self, kind: Any, *_: object) -> None:
        self.thread.shutdown(cancel_futures=kind is not None)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        if kind is None:
            for future in self.saved:
                future.result()


def _serve() -> None:
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    while True:
        try:
            figure, stem, caption = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        error = None
        try:
            save(figure, stem, caption)
        except Exception as raised:
            error = raised
        pickle.dump(error, answers)
        answers.flush()


if __name__ == "__main__":
    _serve()
