"""Runs the parts of an inspection side by side, writes their figures with their data to a folder, and collects them
with their captions in the sections of a page."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cnn_jax.errors import writing
from cnn_jax.report import page, saving
from cnn_jax.runs.folder import Folder
from cnn_jax.waiting import waiting

SIDE_BY_SIDE = 2  # parts at a time: while one compiles or draws on one processor, another computes
# The share of the time that each part takes, measured on a small network: for the estimate of the time left.
SHARES = {
    "explanations": 0.25, "units": 0.34, "receptive fields": 0.06, "orientation tuning": 0.04, "loss surfaces": 0.15,
    "curvature": 0.08, "mistakes": 0.08,
}  # fmt: skip


class FigureWriter:
    def __init__(self, out: Path, show: bool = True, sections: tuple[str, ...] = ()):
        """With `show`, what is being done is said on standard error. `sections` are the first of the page, in their
        order; others follow in the order of their first content."""
        self.show = show
        self.folder = Folder(out)
        self.folder.path.mkdir(parents=True, exist_ok=True)
        self.seconds: dict[str, float] = {}  # time of each part, compilation and waiting for the others included
        self.findings: dict[str, tuple[str, str]] = {}  # of each section: what it shows here, what to be careful about
        self._sections: dict[str, list[Callable[[], str]]] = {name: [] for name in sections}
        self._drawing = threading.Lock()  # matplotlib's settings are those of the process
        self._beside: saving.Beside | None = None  # saves figures while parts run
        self._stopped = False

    def run(self, parts: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """Calls the functions, SIDE_BY_SIDE at a time, and returns their results by name; `seconds` has their times.
        The first error, or an interruption, ends the others at their next figure."""
        with saving.Beside() as self._beside:
            results = self._run(parts)
        self._beside = None
        return results

    def _run(self, parts: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        started, total = time.perf_counter(), sum(SHARES.get(part, 0.05) for part in parts)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            futures = {pool.submit(self._timed, part, work): part for part, work in parts.items()}
            try:
                pending = set(futures)
                while pending:
                    running = [part for future, part in futures.items() if future in pending][:SIDE_BY_SIDE]
                    done = 1 - sum(SHARES.get(futures[future], 0.05) for future in pending) / total
                    left = (time.perf_counter() - started) * (1 - done) / done if done else 0.0
                    about = f", about {left:.0f} s left" if left else ""
                    with waiting(f"inspecting: {' and '.join(running)}{about}", show=self.show, after=0.0):
                        ready, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for future in ready:
                        future.result()
            except BaseException:
                self._stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return {part: future.result() for future, part in futures.items()}

    def _timed(self, part: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        self.seconds[part] = round(time.perf_counter() - started, 2)
        return result

    def keep(self, name: str, **data: Any) -> None:
        """Writes arrays to NAME.npz."""
        arrays: dict[str, Any] = {key: np.asarray(value) for key, value in data.items()}
        path = self.folder.file(f"{name}.npz")
        with writing(path):
            np.savez_compressed(path, **arrays)

    def draw(self, section: str, name: str, caption: str, figure: Callable[[], Figure], **data: Any) -> None:
        """Writes what `figure` draws to NAME.png, NAME.pdf and NAME.svg, and its data to NAME.npz. The first sentence
        of the caption is the alternative text."""
        self._add(section, self._written(name, caption, figure, data))

    def draw_sheet(
        self, title: str, section: str, name: str, caption: str, figure: Callable[[], Figure], **data: Any
    ) -> None:
        """As `draw`, for a large figure that is opened on demand."""
        shown = self._written(name, caption, figure, data)
        self._add(section, lambda: page.sheet(title, shown()))

    def _written(
        self, name: str, caption: str, figure: Callable[[], Figure], data: dict[str, Any]
    ) -> Callable[[], str]:
        """The figure as HTML, once it is saved."""
        if self._stopped:
            raise InterruptedError
        stem = self.folder.file(name)
        with self._drawing:
            drawn = figure()
        if self._beside is None:
            self._save(drawn, stem, caption)
        else:
            self._beside.save(drawn, stem, caption, self._save)
        self.keep(name, **data)
        return lambda: page.figure(stem, caption.split(". ")[0], caption)

    def _save(self, figure: Figure, stem: Path, caption: str) -> None:
        with self._drawing:
            saving.save(figure, stem, caption)

    def add(self, section: str, html: str) -> None:
        self._add(section, lambda: html)

    def _add(self, section: str, part: Callable[[], str]) -> None:
        self._sections.setdefault(section, []).append(part)

    def find(self, section: str, shows: str, careful: str) -> None:
        """Opens a section with what it shows on this network, and with what to be careful about."""
        self.findings[section] = shows, careful

    def sections(self) -> list[str]:
        """The sections that have content, as HTML."""
        found = {name: [page.finding(*finding)] for name, finding in self.findings.items()}
        return [
            page.section(name, *found.get(name, []), *(part() for part in parts))
            for name, parts in self._sections.items()
            if parts
        ]

    def found(self) -> list[tuple[str, str]]:
        """The sections with what they show on this network, in the order of the page."""
        return [(name, self.findings[name][0]) for name in self._sections if name in self.findings]
