"""Writes what bench_step.py has measured into the pages, between their marks.

scripts/run scripts/bench_table.py DIR    DIR/*.json into docs/performance.md, and DIR/step.json into README.md too
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import table

from cnn_jax.cli import common
from cnn_jax.errors import RequestError

ROOT = Path(__file__).resolve().parent.parent
FILES = ("step", "epoch", "trials", "grid", "start", "axis-width", "axis-batch")  # in the order of the page
BEGIN, END = "<!-- performance -->\n", "<!-- end of performance -->\n"


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """What lies in `folder`, by the name of its file. RequestError where there is nothing."""
    found = {name: folder / f"{name}.json" for name in FILES}
    measured = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in found.items() if path.is_file()}
    if not measured:
        raise RequestError(f"{folder} holds nothing that bench_step.py wrote, such as step.json")
    return measured


def page(measured: dict[str, dict[str, Any]], folder: Path, page_folder: Path) -> str:
    """All tables, and the figures of axes as links from the page's folder."""
    parts = []
    for name, one in measured.items():
        parts.append(table.markdown(one))
        if (folder / f"{name}.png").is_file():
            link = Path(os.path.relpath(folder, page_folder), f"{name}.png").as_posix()
            parts.append(f"![cost of a step along the {one['axis']}]({link})\n")
    return "\n".join(parts)


def between_marks(text: str, content: str) -> str:
    """`text` with `content` between its marks instead of what stands there."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + content + END + rest.split(END)[1]


def write(path: Path, content: str) -> None:
    path.write_text(between_marks(path.read_text(encoding="utf-8"), content), encoding="utf-8")


def command(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args(arguments).folder.resolve()
    measured = load(folder)
    write(ROOT / "docs" / "performance.md", page(measured, folder, ROOT / "docs"))
    if "step" in measured:
        write(ROOT / "README.md", f"{table.comparison(measured['step'])}\n{table.heading(measured['step'])}\n")
    return 0


if __name__ == "__main__":
    common.main(command)
