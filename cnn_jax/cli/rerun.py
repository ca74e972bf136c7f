"""cnn-jax rerun: trains a finished run or sweep again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from cnn_jax import compilations
from cnn_jax.cli import common
from cnn_jax.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Rerun(common.Common):
    """Trains a finished run or sweep again; says what has changed and whether the numbers are reproduced.

    For example: cnn-jax rerun results/grid-fashion --data-dir DIR
    """

    run: Positional[Path]
    """The folder of a finished run or sweep."""
    out: Path | None = None
    """The new folder (default: runs/rerun-<UTC time>-<hash>)."""
    data_dir: str | None = None
    """Folder of the data (default: as in the run)."""
    tolerance: float = 0.5
    """Accepted difference, in percentage points of test accuracy."""


def command(arguments: Sequence[str]) -> int:
    parsed = common.parse(Rerun, arguments, "cnn-jax rerun")

    compilations.enable()
    from cnn_jax.api.rerun import rerun
    from cnn_jax.runs.folder import Folder
    from cnn_jax.runs.schema import Record

    if not 0 <= parsed.tolerance < float("inf"):
        raise RequestError(f"--tolerance {parsed.tolerance:g} must be a number of points, at least 0")
    folder = Folder.open(parsed.run)
    out = parsed.out or common.default_out("rerun", folder.read("record.json", Record).config_hash)
    repeat = rerun(parsed.run, out, tolerance=parsed.tolerance, data_dir=parsed.data_dir, show=not parsed.quiet)
    for change in repeat.changes or ("nothing differs in code, versions, device and data",):
        print(change)
    before, now = ("diverged" if number is None else f"{number:.2f} %" for number in repeat.numbers)
    words = {"identical": "identical", "within": f"within {parsed.tolerance:g} points", "different": "different"}
    print(f"{words[repeat.answer]}: test accuracy {before} before, {now} now")
    print(repeat.path)
    return 1 if repeat.answer == "different" else 0
