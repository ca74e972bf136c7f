"""What takes long is said while it does: in lines, or in one line of a terminal."""

import os
import pty
import re
import sys
import time

import pytest

from cnn_jax import waiting


def test_nothing_is_said_of_what_is_quick_or_unasked_for(capsys):
    with waiting.waiting("adding"):
        pass
    with waiting.waiting("adding", show=False, after=0.0):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_lines_say_what_is_done_and_for_how_long(monkeypatch):
    monkeypatch.setattr(waiting, "EVERY_SECONDS", 0.3)
    lines = []
    with waiting.waiting("adding", lines.append, after=0.0):
        deadline = time.monotonic() + 60
        while len(lines) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert lines[0] == "adding …"
    assert all(re.fullmatch(r"adding … \d+ s", line) for line in lines[1:])
    said = len(lines)
    time.sleep(0.4)
    assert len(lines) == said


def everything_from(terminal: int) -> str:
    """What was written to the other end of a pseudoterminal that is closed there; closes this end."""
    parts = []
    with os.fdopen(terminal, "rb", buffering=0) as reader:
        while True:
            try:
                part = reader.read(1000)
            except OSError:  # EIO is how Linux says that the other end is closed
                return b"".join(parts).decode()
            if not part:
                return b"".join(parts).decode()
            parts.append(part)


def test_on_a_terminal_one_line_counts_and_vanishes(monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with waiting.waiting("adding", after=0.0):
            time.sleep(0.3)
        monkeypatch.undo()
    written = everything_from(ours)
    assert re.fullmatch("\r\x1b\\[2Kadding …(\r\x1b\\[2Kadding … .*)?\r\x1b\\[2K", written)


def test_it_ends_with_an_exception_of_the_work():
    lines = []
    with pytest.raises(ZeroDivisionError), waiting.waiting("dividing", lines.append, after=0.0):
        1 / 0  # noqa: B018
    said = len(lines)
    time.sleep(0.1)
    assert len(lines) == said
