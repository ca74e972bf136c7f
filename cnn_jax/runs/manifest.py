"""The manifest of a finished folder: the sha256 of every file that counts as evidence, written last of all.

It finds damage, and every change that does not recompute it; who recomputes every hash is not found by it.
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
STUDY = ("verdict.json", "*.csv", "*/manifest.json")


def write(folder: Folder) -> None:
    """Writes the manifest of a run's, a sweep's or a study's folder over the evidence that is there now."""
    files = {name: hashlib.sha256(folder.read_bytes(name)).hexdigest() for name in evidence(folder)}
    folder.write_json(NAME, {"schema": SCHEMA, "files": files})


def remove(folder: Folder) -> None:
    """Before a folder changes: it is not finished any more."""
    folder.file(NAME).unlink(missing_ok=True)


def evidence(folder: Folder) -> list[str]:
    """The names of the files that count as evidence, in order."""
    kind = STUDY if folder.has("verdict.json") else SWEEP if folder.has("results.csv") else RUN
    names = (path for pattern in (*kind, *CODE) for path in folder.path.glob(pattern) if path.is_file())
    return sorted(path.relative_to(folder.path).as_posix() for path in names)


def read(folder: Folder) -> dict[str, str]:
    """The sha256 of each file by name. RunError where there is no manifest or where it is damaged."""
    values = folder.read_json(NAME)
    files = values.get("files") if isinstance(values, dict) else None
    if not isinstance(files, dict) or values.get("schema") != SCHEMA:
        raise RunError(f"{folder.file(NAME)} is damaged")
    return files


def verify(folder: Folder) -> None:
    """RunError that names every file that is missing, was changed or was added since the manifest was written."""
    files = read(folder)
    there = evidence(folder)
    problems = [f"{name} is missing" for name in files if name not in there]
    problems += [f"{name} was added" for name in there if name not in files]
    problems += [
        f"{name} was changed"
        for name in there
        if name in files and hashlib.sha256(folder.read_bytes(name)).hexdigest() != files[name]
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise RunError(f"{folder.path} is not as it was when it was finished: {', '.join(problems[:3])}{more}")


def digest(path: Path) -> str:
    """The first 12 hex digits of the sha256 of a folder's manifest, which pins everything in it; of a file, its own.
    RunError where a folder has none."""
    content = path.read_bytes() if path.is_file() else json.dumps(read(Folder(path)), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:12]
