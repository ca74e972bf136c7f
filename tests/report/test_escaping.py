"""Names from elsewhere (classes, folders, networks) in tables, pages and figures: shown as they are, never obeyed."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from browser import chromium
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cnn_jax.report import explorer, page, pictures, plots, saving, tables

SPECIAL = "\\{}$&#^_~%|`*[]<>()!\"'-,–\n\r\t\x00\x1b\u2028\u202eäπ猫 a1"
texts = st.one_of(st.text(SPECIAL, max_size=12), st.text(max_size=12))
rows = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=4)
HOSTILE = (
    r"\input{/etc/passwd}",
    "a|b",
    "`x`",
    "[x](y)",
    "a\n\nb",
    "__init__",
    "<!--<script>",
    "&amp;",
    "a -- b",
    "*a*",
)


def shown(text):
    """What a reader should see: one line, white space as HTML and TeX collapse it."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in text).split())


class _Cells(HTMLParser):
    """The text of each cell of each row, by an HTML parser of its own."""

    def __init__(self, source):
        super().__init__()
        self.rows, self.tags = [], set()
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@settings(max_examples=80, deadline=None)
@given(rows)
@example([(name, name, name) for name in HOSTILE])
def test_a_markdown_table_shows_every_cell_as_it_is(rows):
    """Rendered by markdown-it, another implementation of CommonMark with GitHub's tables."""
    text = tables.markdown(pd.DataFrame(rows, columns=["a_b", "c|d", "e"]))
    assert text.count("\n") == len(rows) + 2
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    found = _Cells(html)
    assert found.tags <= {"table", "thead", "tbody", "tr", "th", "td"}
    cells = [[cell.strip("\n") for cell in row] for row in found.rows]
    assert cells == [["a_b", "c|d", "e"], *([shown(cell) for cell in row] for row in rows)]


PRINTS = {
    **{rf"\{mark}": mark for mark in "{}$&#%_"},
    r"\textbackslash": "\\",
    r"\textasciicircum": "^",
    r"\textasciitilde": "~",
    r"\textless": "<",
    r"\textgreater": ">",
    r"\textbar": "|",
    r"\textasciigrave": "`",
}


def printed(latex):
    """What TeX prints of a cell: control sequences, empty groups and ligatures. Fails at anything active."""
    out = ""
    for token in re.findall(r"\\[a-zA-Z]+(?:\{\})?|\\.|\{\}|---|--|''|,,|.", latex, re.S):
        if token == "{}":
            continue
        name = token.removesuffix("{}")
        active = token in ("''", ",,", "---") or re.match(r"[\\{}$&#^_~%]", token)
        assert name in PRINTS or not active, (token, latex)
        out += PRINTS.get(name, "–" if token == "--" else token)
    return out


@settings(max_examples=80, deadline=None)
@given(texts)
@example(r"\input{x}")
@example("---,,,'''")
@example("[2mm]")
@example("-–-––")
def test_a_latex_cell_prints_its_text_and_nothing_is_active(text):
    table = tables.latex(pd.DataFrame({"name": [text], "n": ["1"]}))
    row = table.split("\\midrule\n")[1].split("\n\\bottomrule")[0]
    assert row.endswith(r" & 1 \\")
    assert not row.startswith(("[", "*"))
    assert printed(row.removesuffix(r" & 1 \\")) == shown(text)


def test_markup_goes_through_as_it_is():
    frame = pd.DataFrame({"a": [tables.link("9[9 %", "run:a (b)|c@12#test.accuracy")], "b": [tables.code("a|b")]})
    assert tables.markdown(frame).splitlines()[2] == r"| [9\[9 %](run:a%20%28b%29%7Cc@12#test.accuracy) | `a\|b` |"
    assert r"\cite{key} & a\_b" in tables.latex(pd.DataFrame({"x": [tables.Markup(r"\cite{key}")], "y": ["a_b"]}))


def card(title, names):
    """An image's card of a page whose classes have these names."""
    pixel = explorer.picture(np.zeros((2, 2)))
    return explorer.ImageCard(title, pixel, [(name, 0.5) for name in names] + [("none", None)])


def explored(names):
    return explorer.explorer(
        [explorer.LayerCard("conv1", "facts", [explorer.UnitCard(0, words=names[0])])], [card(names[0], names)], []
    )


@settings(max_examples=80, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
@example(["<!--<script>"])
@example(["</script><script>alert(1)</script>"])
def test_the_data_of_a_page_is_json_that_html_cannot_see(names):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', explored(names), re.S)[1]
    assert "<" not in text
    assert [name for name, _ in json.loads(text)["images"][0]["probabilities"]] == [*names, "none"]


def test_hostile_class_names_in_a_real_browser(tmp_path):
    """The page works and shows the names; nothing of them runs."""
    names = ["<!--<script>", "</script><img src=x onerror=document.title='run'>", "<b>&lt;", "'\"`\\u003c"]
    frame = pd.DataFrame({name: [name] for name in names})
    parts = [explored(names), page.paragraph(names[0]), page.table(frame), page.record({"names": names})]
    (tmp_path / "page.html").write_text(page.page(names[1], parts), encoding="utf-8")
    with chromium(tmp_path / "profile") as browser:
        browser.open(tmp_path / "page.html")
        words = browser.run("return [...document.querySelectorAll('.bars span')].map(span => span.textContent)")
        assert words[::2] == [*names, "none"]
        assert words[-1] == "not a number"
        assert browser.run("return document.title") == names[1]
        cells = browser.run("return [...document.querySelectorAll('td')].map(cell => cell.textContent)")
        assert cells == names
        assert browser.console() == []


@pytest.mark.parametrize("name", ["$x^$", "a$b$c", r"\$", "$", r"$\frac$"])
def test_a_class_name_is_no_formula_in_a_figure(name, tmp_path):

    figure = plots.mistakes(np.eye(2, dtype=int), [name, "other"])
    saving.save(figure, tmp_path / "figure")
    from matplotlib import cbook

    label = figure.axes[0].get_xticklabels()[0].get_text()
    assert not cbook.is_math_text(label)
    saving.save(pictures.gallery(np.zeros((1, 2, 2, 1)), [name]), tmp_path / "gallery")
