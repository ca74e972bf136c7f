"""The linter of notes: a corpus of honest notes, of forged ones and of forged folders; numbers written into notes;
hostile notes."""

import collections
import functools
import random
import shutil
import time
import tomllib
from pathlib import Path

import library
import pytest
import spoilt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnn_jax.cli import main
from cnn_jax.errors import CnnJaxError, DataError
from cnn_jax.references import references
from cnn_jax.report.cite import cite
from cnn_jax.report.notes import check, generate, quantities, stamp
from cnn_jax.report.notes.published import published
from cnn_jax.runs.manifest import digest

CORPUS = Path(__file__).parent / "forgeries"
PROTOCOL = "Of the images for training 269 of 1,528 are held out for validation.\n"
ROOT = Path(__file__).resolve().parents[2]


def corpus(name):
    return tomllib.loads((CORPUS / f"{name}.toml").read_text(encoding="utf-8"))["note"]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    return library.fill(tmp_path_factory.mktemp("library"))


@pytest.fixture
def note(folders, monkeypatch):
    """Writes a note beside the folders, which are read once for all of them."""
    monkeypatch.setattr(quantities, "_of", read_once)
    written = []

    def write(text, end=".md", protocol=True):
        path = folders / f"note-{len(written)}{end}"
        path.write_text(text + ("\n\n" + PROTOCOL if protocol else ""), encoding="utf-8")
        written.append(path)
        return path

    yield write
    for path in written:
        path.unlink()


read_once = functools.cache(quantities._of)


def problems(path):
    return [problem.text for problem in check(path).problems]


def as_written(entry):
    return entry["text"], entry.get("end", ".md"), entry.get("protocol", True)


def test_honest_notes_pass(note):
    entries = corpus("honest")
    complaints = {entry["name"]: said for entry in entries if (said := problems(note(*as_written(entry))))}
    assert len(entries) >= 20
    assert complaints == {}


def test_forged_notes_are_caught(note, capsys):
    cases, caught, missed = collections.Counter(), collections.Counter(), {}
    for entry in corpus("notes"):
        said = problems(note(*as_written(entry)))
        right = any(entry["says"] in text for text in said)
        cases[entry["kind"]] += 1
        caught[entry["kind"]] += right
        if not right:
            missed[f"{entry['kind']}: {entry['wrong']}"] = said
        assert all(len(text) < 400 and "\n" not in text for text in said)
    with capsys.disabled():
        print("\nforged notes      cases caught")
        for kind in (*cases, None):
            total, right = (cases.total(), caught.total()) if kind is None else (cases[kind], caught[kind])
            print(f"{kind or 'all':17} {total:5} {right:6}")
    assert sum(cases.values()) >= 60
    assert missed == {}


FORGED = [("grid", spoilt.GRID, *case) for case in spoilt.GRIDS] + [
    ("study", spoilt.EFFECT, *case) for case in spoilt.STUDIES
]


@pytest.mark.parametrize(("folder", "text", "wrong", "spoil", "says"), FORGED, ids=[f"{c[0]}: {c[2]}" for c in FORGED])
def test_a_forged_folder_is_caught(folders, tmp_path, folder, text, wrong, spoil, says):
    """By `check` and by `cite`, in one line that says the same."""
    shutil.copytree(folders / folder, tmp_path / folder)
    path = tmp_path / "note.md"
    path.write_text(f"{text}.\n\n{PROTOCOL}")
    assert problems(path) == []
    spoil(tmp_path / folder)
    (problem,) = check(path).problems
    assert says in problem.text
    assert (problem.line, "\n" in problem.text) == (1, False)
    assert len(problem.text) < 400
    with pytest.raises(CnnJaxError) as refused:
        cite(tmp_path / folder, "text")
    assert says in str(refused.value)


def test_a_pinned_note_sees_that_a_folder_was_made_anew(folders, tmp_path):
    for name in ("grid", "other"):
        shutil.copytree(folders / name, tmp_path / name)
    path = tmp_path / "note.md"
    path.write_text(f"{spoilt.GRID}\n\n{PROTOCOL}")
    assert stamp(path) == 1
    assert f"(run:grid@{digest(tmp_path / 'grid')}#test.accuracy)" in path.read_text()
    assert problems(path) == []
    assert stamp(path) == 0
    shutil.rmtree(tmp_path / "grid")
    shutil.copytree(tmp_path / "other", tmp_path / "grid")
    assert any("has changed since the note" in text for text in problems(path))


def test_stamping_leaves_the_rest_of_a_note_alone(folders, tmp_path):
    """Code, line ends, references that lead nowhere, a path that stands in the text of a link too."""
    shutil.copytree(folders / "run", tmp_path / "run")
    text = "```x``` is code\r\n\r\n`[1](run:run#n)` [1](run:run#n) [2](run:nowhere#n) run#n\r\n"
    path = tmp_path / "note.md"
    path.write_bytes(text.encode())
    path.chmod(0o640)
    assert stamp(path) == 1
    pinned = text.replace(" [1](run:run#", f" [1](run:run@{digest(tmp_path / 'run')}#")
    assert path.read_bytes().decode() == pinned
    assert path.stat().st_mode & 0o777 == 0o640
    (problem,) = problems(path)
    assert "there is no" in problem


GENERATED = {
    ".md": """# Results

The median test accuracy is [](run:grid#test.accuracy) ({interval}, {n}), trained on: {protocol}.

| seeds | test accuracy | interval |
|---|---|---|
| failing, {n} is no placeholder before a reference | [](run:failing#test.accuracy), {n} | {interval} |
| three | [](run:three#test.accuracy), {n} | {interval} |

ReLUs bring [](run:study#effect) ({interval}, {n}): supported, p = [](run:study#p). Loss: [](run:grid#test.loss)
({interval}; {n}); top-5 accuracy [](run:run#test.top5_accuracy) ({n}, {interval}). `[](run:grid#n)` is code.
""",
    ".tex": r"""\documentclass{article}
\newcommand{\result}[2]{#2}
\begin{document}
The median test accuracy is \result{run:grid#test.accuracy}{} ({interval}, {n}), trained on: {protocol}.
The test error is \result{run:grid\#test.error}{} ({interval}; {n}). % \result{run:grid#n}{}
\begin{tabular}{lll}
run & loss & interval \\ \midrule
failing & \result{run:failing#test.loss}{}, {n} & {interval} \\
\end{tabular}
ReLUs bring \result{run:study#effect}{} ({interval}, {n}).
\end{document}
""",
}


@pytest.mark.parametrize("end", GENERATED)
def test_a_note_without_typed_digits(note, end):
    """Its numbers are filled in, pinned and right; a second time nothing changes."""
    path = note(GENERATED[end], end, protocol=False)
    assert generate(path) == {".md": 7, ".tex": 4}[end]
    text = path.read_text()
    assert "93.87" in text
    assert "n = 6, of which 1 diverged and 1 at chance" in text
    assert ("`[](run:grid#n)` is code" in text) == (end == ".md")
    report = check(path)
    assert (report.problems, report.unpinned) == ([], 0)
    assert generate(path) == 0
    assert path.read_text() == text
    assert not list(path.parent.glob(".*partial"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["grid", "other", "three", "run", "failing", "lenet"]), min_size=1, max_size=4), st.data()
)
def test_whatever_is_generated_passes(note, names, data):
    """Every quantity of every folder, in a sentence that says nothing of it."""
    folders = note("").parent
    lines = []
    for name in names:
        known = [what for what in read_once(folders, name) if not what.endswith((".low", ".high"))]
        lines.append(f"It has [](run:{name}#{data.draw(st.sampled_from(known))}) ({{interval}}, {{n}}).\n")
    path = note("\n".join(lines))
    assert generate(path) == len(names)
    assert [text for text in problems(path) if "{" not in text] == []


def test_the_row_of_a_citation_is_a_note_that_passes(folders, tmp_path):
    for name in ("grid", "three", "run", "failing", "few", "final", "lenet", "jpeg", "study"):
        path = tmp_path / "note.md"
        path.write_text(cite(folders / name, "markdown"))
        report = check(path)
        assert report.problems == [], name
        assert (report.references, report.unpinned) == (1, 0)


def test_a_diverged_seed_is_worse_than_every_loss(folders):
    """By `cite` and by `check`: its end of the interval is the upper one, and it makes the median larger, not less."""
    quantity = read_once(folders, "failing")["test.loss"]
    worst = [2.0 - correct / 269 for correct in (253, 252, 251, 250, 30)]
    assert (quantity.interval.low, quantity.interval.high) == (pytest.approx(worst[0]), None)
    assert quantity.value == pytest.approx((worst[2] + worst[3]) / 2)
    assert f"{worst[0]:.4f} – diverged" in cite(folders / "failing", "text", "test.loss")


def test_published_numbers_have_a_publication():
    for key, numbers in published().items():
        assert key in references()
        for number in numbers:
            assert number.where
            assert number.measure in ("accuracy", "error", "top5_error", "parameters", "seconds")


def test_the_command(note, capsys):
    good, bad = note(spoilt.GRID), note("It has 12 % more.\n\nAnd [](run:grid#n) seeds.")
    assert main.command(["check", str(good), "--stamp"]) == 0
    assert "1 references pinned" in capsys.readouterr().out
    assert main.command(["check", "--generate", str(bad), str(good)]) == 1
    out, err = capsys.readouterr()
    assert f"{bad}: 1 references filled in" in out
    assert err.splitlines() == [f"{bad}:1: 12 % carries no reference: write [12 %](run:PATH#QUANTITY) or (cite:KEY)"]


def test_a_file_that_a_note_takes_in_is_checked_too(note):
    other = note("The accuracy is 93.87\\,\\%.", ".tex", protocol=False)
    main = note(f"\\input{{{other.stem}}}\n\\input{{{other.name}}}\n\\include{{../outside}}", ".tex", protocol=False)
    found = check(main).problems
    assert {(problem.path, problem.line) for problem in found} == {(other, 1), (main, 3)}


# hostile notes


def refusal_of(path):
    """The one line with which a note is refused, None where it is read."""
    try:
        check(path)
    except DataError as error:
        refusal = str(error)
    else:
        return None
    assert "\n" not in refusal
    return refusal


UNREADABLE = {
    "of another suffix": ("note.docx", b"text"),
    "empty of a suffix": ("note", b"text"),
    "binary": ("note.md", bytes(range(256))),
    "of another encoding": ("note.md", "Genauigkeit für 12 %".encode("latin-1")),
    "with control characters": ("note.txt", b"12 \x1b[31m%"),
    "too large": ("note.md", b"word \n" * 400_000),
    "of too many numbers": ("note.md", b"12 % \n" * 30_000),
    "of too many references": ("note.md", b"[1](run:x#n) " * 6_000),
    "with a macro that prints something else": ("note.tex", rb"\renewcommand{\result}[2]{99.9}"),
    "with a macro that is defined anew": ("note.tex", rb"\def\result#1#2{#1}"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_no_note_is_one_line(tmp_path, what):
    name, content = UNREADABLE[what]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as refused:
        check(tmp_path / name)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_note_that_is_a_folder_or_nowhere_is_one_line(tmp_path):
    (tmp_path / "folder.md").mkdir()
    for name in ("folder.md", "nowhere.md", "x" * 300 + ".md"):
        with pytest.raises(DataError, match="cannot be read"):
            check(tmp_path / name)


LARGE = 40_000
MANY = 1_200  # numbers, of which a note may not have too many
HOSTILE = {
    "one line of digits": "9" * LARGE,
    "one line of letters": "a" * LARGE,
    "one line of blanks behind a number": "1" + " " * LARGE + "%",
    "numbers in a row": "1 " * MANY,
    "percentages in a row": "1 % " * MANY,
    "brackets": "[" * LARGE,
    "brackets that close": "[" * (LARGE // 2) + "]" * (LARGE // 2),
    "parentheses": "](run:" * (LARGE // 6),
    "braces": "{" * LARGE,
    "backslashes": "\\" * LARGE,
    "backticks": "`" * LARGE,
    "backticks of many lengths": " ".join("`" * n for n in range(1, 800)),
    "emphasis": "*_" * (LARGE // 2),
    "comments that never close": "<!--" * (LARGE // 4),
    "tags that never close": "<td " * (LARGE // 4),
    "entities": "&#37" * MANY + "&" * LARGE,
    "bars": "|" * LARGE,
    "tables": "| a | b |\n|---|---|\n" * MANY,
    "rules of tables": "-" * LARGE,
    "dashes between numbers": "1–" * MANY,
    "thousands": "1,000" * MANY,
    "exponents": "1e" * MANY,
    "words of accuracy": "accuracy 0.5 " * MANY,
    "seeds": "6 seeds diverged of " * MANY,
    "levels": "95 % a b c " * MANY,
    "sentences": "A. " * (LARGE // 3),
    "references": "[93.87 %](run:grid#test.accuracy) mean " * MANY,
    "cells": "[1](run:nowhere#n) | " * MANY,
    "macros": "\\result{run:" * (LARGE // 12),
    "arguments": "\\cite{" * (LARGE // 6),
    "tabulars": "\\begin{tabular}{" * (LARGE // 16),
    "verbatims": "\\begin{verbatim}" * (LARGE // 16),
    "inputs": "\\input{x}" * (LARGE // 9),
    "quotes": "> " * (LARGE // 2),
    "lists": "- " * (LARGE // 2),
    "paragraphs": "a\n\n" * (LARGE // 3),
}


@pytest.mark.parametrize("end", [".md", ".tex", pytest.param(".txt", marks=pytest.mark.slow)])
def test_large_notes_of_one_kind_take_no_quadratic_time(note, end):
    """A quadratic step would take minutes at this size."""
    slow: dict[str, float] = {}
    for name, text in HOSTILE.items():
        path = note(text, end)
        started = time.process_time()
        refusal_of(path)
        slow[name] = time.process_time() - started
        path.write_text("")
    assert {name: seconds for name, seconds in slow.items() if seconds > 5.0} == {}


def pieces():
    """What the corpus is made of, and what breaks parsers."""
    texts = [entry["text"] for name in ("honest", "notes") for entry in corpus(name)]
    words = sorted({word for text in texts for word in text.split(" ")})
    return [*words, *"[](){}`|$%&\\#@<>~^_*–\n\t\r", "\n\n", "\\begin{", "\\result{run:", "\ufeff", "9" * 400, "e", "٣"]


@pytest.mark.parametrize("end", [".md", ".tex", ".txt"])
def test_notes_of_broken_pieces_are_read_or_refused(note, capsys, end):
    """Whatever is written, `check`, `--stamp` and `--generate` come to an end without a traceback."""
    parts, generator = pieces(), random.Random(end)
    path, tried, refused = note("", end), 0, 0
    for _ in range(60):
        text = generator.choice(["", " "]).join(generator.choices(parts, k=generator.randrange(1, 120)))
        path.write_text(text, encoding="utf-8", newline="")
        tried += 1
        if refusal_of(path) is not None:
            refused += 1
            continue
        for problem in check(path).problems:
            assert len(problem.text) < 400
            assert problem.text.isprintable()
            assert 1 <= problem.line <= text.count("\n") + 1
        stamp(path)
        generate(path)
        assert refusal_of(path) is None
    with capsys.disabled():
        print(f"\nnotes of broken pieces, {end}: {tried} tried, {refused} refused in one line, 0 failures")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=300), st.sampled_from([".md", ".tex", ".txt"]))
def test_any_text_is_read_or_refused(tmp_path, text, end):
    path = tmp_path / f"note{end}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    refusal_of(path)
