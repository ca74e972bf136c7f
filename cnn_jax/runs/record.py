"""The record of a run: what others need to repeat it and to judge its numbers."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from cnn_jax.data import Dataset
from cnn_jax.errors import RequestError
from cnn_jax.randomness import PRNG
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.provenance import Attachments
from cnn_jax.runs.schema import Data, Provenance, Record
from cnn_jax.training.config import Config

ELSEWHERE = ("devices", "hosts")  # choices that may differ when a run is resumed


def of_run(provenance: Provenance, config: Config, dataset: Dataset, choices: dict) -> Record:
    """The record of a run at its start. Times and memory are added at its end."""
    return Record(
        provenance=provenance,
        config=config.to_json(),
        config_hash=config.hash(),
        seeds={"run": config.seed, "split": config.seed_of_split, "prng": PRNG},
        precision=config.precision,
        weights_scored=config.select,
        choices=choices,
        data=data_of(dataset),
    )


def data_of(dataset: Dataset) -> Data:
    return Data(
        name=dataset.name,
        sha256=dataset.fingerprint,
        image_shape=dataset.image_shape,
        class_names=dataset.class_names,
        mean=tuple(dataset.mean.tolist()),
        std=tuple(dataset.std.tolist()),
        splits={name: len(getattr(dataset, name)) for name in ("train", "validation", "test")},
        source=dataset.source,
    )


def begin(folder: Folder, record: Record, attachments: Attachments, say: Callable[[str], None]) -> Record:
    """Writes the record of a run or sweep at its start, or adds a resumption to the existing record.

    Writes the attachments (code, uncommitted changes) beside it. Says and records that a run is resumed on another
    number of devices or processes. Returns the record as written. Raises RequestError if the run cannot be resumed here
    because its other choices or data differ, which would round differently.
    """
    start = record.provenance
    if folder.has("record.json"):
        before = folder.read("record.json", Record)
        old_data, new_data = dataclasses.asdict(before.data), dataclasses.asdict(record.data)
        fixed = [name for name in record.choices if name not in ELSEWHERE]
        for what, old, new, names in (
            ("choices", before.choices, record.choices, fixed),
            ("data", old_data, new_data, list(new_data)),
        ):
            if changed := _changed(old, new, names):
                raise RequestError(f"{folder.path} cannot be resumed here, its {what} differ: {changed}")
        notes = before.notes
        if moved := _changed(dict.fromkeys(ELSEWHERE, 1) | before.choices, record.choices, ELSEWHERE):
            notes += (f"resumed elsewhere ({moved}): from here on other rounding, and other dropout masks",)
            say(notes[-1])
        start, attachments = _renamed(start, attachments, len(before.resumed) + 1)
        choices = before.choices | {name: record.choices[name] for name in ELSEWHERE}
        record = dataclasses.replace(before, resumed=(*before.resumed, start), notes=notes, choices=choices)
    for name, content in attachments.items():
        folder.write_bytes(name, content)
    folder.write("record.json", record)
    return record


def _changed(old: dict[str, Any], new: dict[str, Any], names: Sequence[str]) -> str:
    """The values that differ, as text."""
    return "; ".join(f"{name}: {old.get(name)} -> {new[name]}" for name in names if old.get(name) != new[name])[:400]


def _renamed(start: Provenance, attachments: Attachments, number: int) -> tuple[Provenance, Attachments]:
    """Gives the files of resumption `number` their own names."""

    def name_of(name: str) -> str:
        return f"resumed-{number}/{name}"

    def source_of(source):
        return source and dataclasses.replace(source, copy=name_of(source.copy))

    repository = start.repository
    if repository is not None and repository.diff is not None:
        repository = dataclasses.replace(repository, diff=name_of(repository.diff))
    start = dataclasses.replace(
        start, repository=repository, script=source_of(start.script), modules=tuple(map(source_of, start.modules))
    )
    return start, {name_of(name): content for name, content in attachments.items()}
