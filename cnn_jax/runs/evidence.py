"""What is kept of a finished sweep or study: the files of its manifest, and what a reader looks at."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.outcome import outcome_of, verdict_of

SHOWN = ("summary.md", "summary.csv", "summary.tex", "*.png")


def keep(source: Path, target: Path) -> None:
    """Makes `target` a copy of the evidence of the sweep or the study in `source`, without its checkpoints: what each
    manifest lists, the manifests, tables and figures. RunError for what cannot be cited; `target` then stays."""
    folder = Folder(source)
    if folder.has("verdict.json"):
        verdict_of(source)
    else:
        outcome_of(source)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for part in _parts(folder):
        for name in files(part):
            copy = partial / part.path.relative_to(source) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(part.file(name), copy)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def files(folder: Folder) -> list[str]:
    """The names of the files that are kept of a finished folder, in order."""
    shown = (path.name for pattern in SHOWN for path in folder.path.glob(pattern))
    return sorted({manifest.NAME, *manifest.read(folder), *shown})


def _parts(folder: Folder) -> Iterator[Folder]:
    """The folder itself and, of a study, its sweeps, whose manifests its own one lists."""
    yield folder
    for name in manifest.read(folder):
        if name.endswith(f"/{manifest.NAME}"):
            yield Folder(folder.file(name).parent)
