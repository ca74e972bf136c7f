"""The manifest of a finished folder: the sha256 of every file that counts as evidence, written last.

It detects damage and edits, but not a forgery that recomputes the hashes.
"""

import hashlib
import json
from pathlib import Path

from cnn_jax.errors import RunError
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.schema import SCHEMA

NAME = "manifest.json"
RUN = ("config.json", "record.json", "result.json", "metrics.jsonl")
CODE = ("uncommitted.diff", "code/*", "resumed-*/*", "resumed-*/code/*")
SEVERAL = tuple(f"{place}/*/{name}" for place in ("trials", "final") for name in RUN if name != "record.json")
SWEEP = ("config.json", "record.json", "results.csv", "best/seeds.csv", *(f"best/{name}" for name in RUN), *SEVERAL)
STUDY = ("verdict.json", "*.csv", "*/config.json", "*/record.json", "*/results.csv")


def write(folder: Folder) -> None:
    """Writes the manifest of the current evidence in the folder of a run, sweep or study."""
    files = {name: hashlib.sha256(folder.read_bytes(name)).hexdigest() for name in evidence(folder)}
    folder.write_json(NAME, {"schema": SCHEMA, "files": files})


def remove(folder: Folder) -> None:
    """Removes the manifest before a folder changes: it is no longer finished."""
    folder.file(NAME).unlink(missing_ok=True)


def evidence(folder: Folder) -> list[str]:
    """The sorted names of the files that count as evidence."""
    kind = STUDY if folder.has("verdict.json") else SWEEP if folder.has("results.csv") else RUN
    names = (path for pattern in (*kind, *CODE) for path in folder.path.glob(pattern) if path.is_file())
    return sorted(path.relative_to(folder.path).as_posix() for path in names)


def read(folder: Folder) -> dict[str, str]:
    """Reads the sha256 of each file, by name. Raises RunError if the manifest is missing or damaged."""
    values = folder.read_json(NAME)
    files = values.get("files") if isinstance(values, dict) else None
    if not isinstance(files, dict) or values.get("schema") != SCHEMA:
        raise RunError(f"{folder.file(NAME)} is damaged")
    return files


def verify(folder: Folder) -> None:
    """Raises RunError, naming the files, if any was removed, changed or added since the manifest was written."""
    files = read(folder)
    present = evidence(folder)
    problems = [f"{name} is missing" for name in files if name not in present]
    problems += [f"{name} was added" for name in present if name not in files]
    problems += [
        f"{name} was changed"
        for name in present
        if name in files and hashlib.sha256(folder.read_bytes(name)).hexdigest() != files[name]
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise RunError(f"{folder.path} is not as it was when it was finished: {', '.join(problems[:3])}{more}")


def digest(path: Path) -> str:
    """The first 12 hex digits of the sha256 of a file, or of a folder's manifest, which pins everything in the folder.
    Raises RunError if a folder has no manifest."""
    content = path.read_bytes() if path.is_file() else json.dumps(read(Folder(path)), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:12]
