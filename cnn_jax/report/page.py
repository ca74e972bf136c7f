"""One self-contained HTML page: no network access, no script, readable in light and dark mode and on paper."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_jax.report import assets

LARGEST_SVG = 1_000_000


def page(title: str, parts: Sequence[str], style: str = "") -> str:
    """A page of `parts`, which are HTML; `style` is additional CSS."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{assets.text('page.css')}{style}</style></head>\n<body><main>\n<h1>{html.escape(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def sentence(clause: str) -> str:
    """A clause with a capital and a full stop; symbols such as the n of "n = 6" keep their case."""
    start = clause if clause.startswith("n =") else clause[0].upper() + clause[1:]
    return f"{start}."


def count(n: int, thing: str) -> str:
    """'1 epoch', '20 epochs'."""
    return f"{n:,} {thing}{'s' * (n != 1)}"


def section(heading: str, *parts: str) -> str:
    return f"<section><h2>{html.escape(heading)}</h2>\n" + "\n".join(parts) + "</section>"


def paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def finding(shows: str, careful: str) -> str:
    """What a section shows, and what to be careful about."""
    return f'<p class="finding"><strong>{html.escape(shows)}</strong> {html.escape(careful)}</p>'


def sheet(title: str, content: str) -> str:
    """Something large that is opened on demand."""
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """A list of names with what there is to say of each."""
    items = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in rows)
    return f'<dl class="facts">{items}</dl>'


def remarks(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f'<ul class="remark">{items}</ul>' if items else ""


def command(text: str) -> str:
    return f"<pre><code>{html.escape(text)}</code></pre>"


def figure(stem: Path, alt: str, caption: str) -> str:
    """The figure that `saving.save` wrote: its SVG as a part of the page, in which black is the colour of the text; if
    that is larger than 1 MB, its PNG at two image pixels per CSS pixel."""
    drawn = stem.with_name(stem.name + ".svg").read_text(encoding="utf-8")
    if len(drawn) > LARGEST_SVG:
        content = stem.with_name(stem.name + ".png").read_bytes()
        width = int.from_bytes(content[16:20], "big") // 2  # from the header of the PNG
        data = base64.b64encode(content).decode()
        shown = f'<img alt="{html.escape(alt)}" width="{width}" src="data:image/png;base64,{data}">'
    else:
        shown = _inline(drawn, alt, f"{stem.name}-{hashlib.sha256(drawn.encode()).hexdigest()[:8]}-")
    return f"<figure>{shown}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _inline(svg: str, alt: str, prefix: str) -> str:
    """An SVG of matplotlib as an element of a page: its ids, of which a page may have only one each, get a prefix."""
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href").replace("#000000", "currentColor")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}", svg)
    return svg.replace("<svg", f'<svg role="img" fill="currentColor" aria-label="{html.escape(alt)}"', 1).strip()


def table(frame: pd.DataFrame, best: int | None = None) -> str:
    """A table of text; row `best` is highlighted."""
    head = "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in frame.columns)
    rows = []
    for i, row in enumerate(frame.to_numpy().tolist()):
        cells = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row)
        rows.append(f'<tr class="best">{cells}</tr>' if i == best else f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def record(values: dict[str, Any]) -> str:
    """A record as JSON, collapsed."""
    text = json.dumps(values, indent=2, ensure_ascii=False)
    return f"<details><summary>Everything that was recorded</summary>{command(text)}</details>"
