"""Writes figures with their data to a folder, and collects them with their captions in the sections of a page."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure

from cnn_jax.errors import writing
from cnn_jax.report import figures, page
from cnn_jax.runs.folder import Folder
from cnn_jax.waiting import waiting

T = TypeVar("T")
# The share of the time that each part takes, measured on a small network: for the estimate of the time left.
SHARES = {
    "explanations": 0.45, "units": 0.25, "receptive fields": 0.07, "orientation tuning": 0.05, "loss surfaces": 0.15,
    "mistakes": 0.03,
}  # fmt: skip


class FigureWriter:
    def __init__(self, out: Path, show: bool = True):
        """With `show`, each part is announced on standard error."""
        self.show, self.done = show, 0.0
        self.folder = Folder(out)
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self.seconds: dict[str, float] = {}  # time of each part, compilation included
        self.findings: dict[str, tuple[str, str]] = {}  # of each section: what it shows here, what to be careful about
        self._sections: dict[str, list[str]] = {}

    def timed(self, part: str, work: Callable[[], T]) -> T:
        """Calls `work`, records its time, and returns its result."""
        started = time.perf_counter()
        left = sum(self.seconds.values()) * (1 - self.done) / self.done if self.done else 0.0
        about = f", about {left:.0f} s left" if left else ""
        with waiting(f"inspecting: {part}{about}", show=self.show, after=0.0):
            result = work()
        self.seconds[part] = round(time.perf_counter() - started, 2)
        self.done += SHARES.get(part, 0.0)
        return result

    def keep(self, name: str, **data: Any) -> None:
        """Writes arrays to NAME.npz."""
        arrays: dict[str, Any] = {key: np.asarray(value) for key, value in data.items()}
        path = self.folder.file(f"{name}.npz")
        with writing(path):
            np.savez_compressed(path, **arrays)

    def draw(self, section: str, name: str, caption: str, figure: Figure, **data: Any) -> None:
        """Writes NAME.png, and its data to NAME.npz. The first sentence of the caption is the alternative text."""
        self.add(section, self._written(name, caption, figure, data))

    def draw_sheet(self, title: str, section: str, name: str, caption: str, figure: Figure, **data: Any) -> None:
        """As `draw`, for a large figure that is opened on demand."""
        self.add(section, page.sheet(title, self._written(name, caption, figure, data)))

    def _written(self, name: str, caption: str, figure: Figure, data: dict[str, Any]) -> str:
        path = self.folder.file(f"{name}.png")
        figures.save(figure, path)
        self.keep(name, **data)
        return page.figure(path, caption.split(". ")[0], caption)

    def add(self, section: str, html: str) -> None:
        self._sections.setdefault(section, []).append(html)

    def find(self, section: str, shows: str, careful: str) -> None:
        """Opens a section with what it shows on this network, and with what to be careful about."""
        self.findings[section] = shows, careful

    def sections(self) -> list[str]:
        """The sections as HTML, in the order of their first figure or paragraph."""
        return [
            page.section(name, *([page.finding(*self.findings[name])] if name in self.findings else []), *parts)
            for name, parts in self._sections.items()
        ]
