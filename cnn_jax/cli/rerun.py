"""cnn-jax rerun: a finished run or sweep, trained once more."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from cnn_jax.cli import common
from cnn_jax.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Rerun(common.Common):
    """Trains a finished run or sweep once more; says what differs around it and whether the numbers come out again.

    For example: cnn-jax rerun results/grid-fashion --data-dir DIR
    """

    run: Positional[Path]
    """The folder of a finished run or sweep."""
    out: Path | None = None
    """The new folder (default: runs/rerun-<UTC time>-<hash>)."""
    data_dir: str | None = None
    """Where the data is (default: where it was)."""
    tolerance: float = 0.5
    """In points of test accuracy."""


def command(arguments: Sequence[str]) -> int:
    parsed = common.parse(Rerun, arguments, "cnn-jax rerun")

    from cnn_jax.api.rerun import rerun
    from cnn_jax.runs.folder import Folder
    from cnn_jax.runs.schema import Record

    if not 0 <= parsed.tolerance < float("inf"):
        raise RequestError(f"--tolerance {parsed.tolerance:g} must be a number of points, at least 0")
    folder = Folder.open(parsed.run)
    out = parsed.out or common.default_out("rerun", folder.read("record.json", Record).config_hash)
    again = rerun(parsed.run, out, tolerance=parsed.tolerance, data_dir=parsed.data_dir, show=not parsed.quiet)
    for change in again.changes or ("nothing differs in code, versions, device and data",):
        print(change)
    before, now = ("diverged" if number is None else f"{number:.2f} %" for number in again.numbers)
    words = {"identical": "identical", "within": f"within {parsed.tolerance:g} points", "different": "different"}
    print(f"{words[again.answer]}: test accuracy {before} before, {now} now")
    print(again.path)
    return 1 if again.answer == "different" else 0
