"""Says on standard error what takes long, while it does."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

AFTER_SECONDS = 1.0  # of silence, before anything is said
EVERY_SECONDS = 10.0  # between lines; on a terminal one line counts the seconds


def print_note(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def waiting(
    what: str, say: Callable[[str], None] = print_note, *, show: bool = True, after: float = AFTER_SECONDS
) -> Iterator[None]:
    """Says that `what` is being done once it has taken `after` seconds, then how long it has taken so far.

    On a terminal, with the default `say`, this is a single line that is overwritten and removed at the end."""
    if not show:
        yield
        return
    ended = threading.Event()
    in_place = say is print_note and sys.stderr.isatty()
    thread = threading.Thread(target=_say, args=(what, say, after, in_place, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _say(what: str, say: Callable[[str], None], after: float, in_place: bool, ended: threading.Event) -> None:
    started, text, pause = time.monotonic(), f"{what} …", after
    while not ended.wait(pause):
        if in_place:
            print(f"\r\033[2K{text}", end="", file=sys.stderr, flush=True)
        else:
            say(text)
        pause = 1.0 if in_place else EVERY_SECONDS
        text = f"{what} … {time.monotonic() - started + pause:.0f} s"
    if in_place:
        print("\r\033[2K", end="", file=sys.stderr, flush=True)
