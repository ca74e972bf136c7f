"""Writes the results of the benchmarks into the pages, between their marks."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bench import axes, table
from cnn_jax.cli import common
from cnn_jax.errors import RequestError

ROOT = Path(__file__).resolve().parents[2]
AXES = tuple(f"axis-{axis}" for axis in axes.VALUES)
FILES = (
    "step",
    "step-avx2",
    "epoch",
    "epoch-wide",
    "gpu-epoch",
    "gpu-step",
    "training",
    "trials",
    "vmap",
    "grid",
    "start",
    "compile",
    *AXES,
    "data",
    "insight",
)  # in the order of the page
BEGIN, END = "<!-- performance -->\n", "<!-- end of performance -->\n"


def page(folder: Path, page_folder: Path) -> str:
    """All tables in `folder`, and its figures as links relative to the page's folder. Raises RequestError if there are
    none."""
    parts = []
    for name in FILES:
        if (path := folder / f"{name}.md").is_file():
            parts.append(path.read_text(encoding="utf-8"))
        if (folder / f"{name}.png").is_file():
            link = Path(os.path.relpath(folder, page_folder), f"{name}.png").as_posix()
            parts.append(f"![cost of a step: {name}]({link})\n")
    if not parts:
        raise RequestError(f"{folder} holds nothing that a benchmark wrote, such as step.md")
    return "\n".join(parts)


def between_marks(text: str, content: str) -> str:
    """Replaces the text between the marks by `content`."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + content + END + rest.split(END)[1]


def write(path: Path, content: str) -> None:
    path.write_text(between_marks(path.read_text(encoding="utf-8"), content), encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Pages(common.Common):
    """Writes DIR/*.md into docs/performance.md and the first table of DIR/step.json into README.md.

    For example: cnn-jax bench pages results/performance
    """

    folder: Positional[Path]
    """Folder of the results, as given to --out."""


def command(arguments: Sequence[str]) -> int:
    folder = common.parse(Pages, arguments, "cnn-jax bench pages").folder.resolve()
    write(ROOT / "docs" / "performance.md", page(folder, ROOT / "docs"))
    if (steps := folder / "step.json").is_file():
        measured = json.loads(steps.read_text(encoding="utf-8"))
        write(ROOT / "README.md", f"{table.comparison(measured)}\n{table.heading(measured)}\n")
    return 0
