"""The archived files of a finished sweep or study: those of its manifest, plus summaries and figures."""

import shutil
from pathlib import Path

from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.outcome import outcome_of, verdict_of

SHOWN = ("summary.md", "summary.csv", "summary.tex", "*.png", "*.svg")


def keep(source: Path, target: Path) -> None:
    """Replaces `target` by a copy of the evidence in `source`, a sweep or study, without checkpoints: the manifest, the
    files it lists, tables and figures; of the sweeps of a study not their trials. Raises RunError if `source` cannot be
    cited; `target` then stays."""
    folder = Folder(source)
    if folder.has("verdict.json"):
        verdict_of(source)
    else:
        outcome_of(source)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name in files(folder):
        copy = partial / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder.file(name), copy)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def files(folder: Folder) -> list[str]:
    """The sorted names of the files to archive from a finished folder."""
    shown = (path.name for pattern in SHOWN for path in folder.path.glob(pattern))
    return sorted({manifest.NAME, *manifest.read(folder), *shown})
