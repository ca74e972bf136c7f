"""The record of a run: what others need to repeat it and to judge its numbers."""

import dataclasses

from cnn_jax.data import Dataset
from cnn_jax.errors import RequestError
from cnn_jax.randomness import PRNG
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.provenance import Attachments
from cnn_jax.runs.schema import Data, Provenance, Record
from cnn_jax.training.config import Config


def of_run(provenance: Provenance, config: Config, dataset: Dataset, choices: dict) -> Record:
    """The record of a run at its start. Times and memory are added at its end."""
    return Record(
        provenance=provenance,
        config=config.to_json(),
        config_hash=config.hash(),
        seeds={"run": config.seed, "split": config.split_seed, "prng": PRNG},
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


def begin(folder: Folder, record: Record, attachments: Attachments) -> Record:
    """Writes the record of a run or sweep at its start, or adds a resumption to the existing record.

    Writes the attachments (code, uncommitted changes) beside it. Returns the record as written. Raises RequestError if
    the run cannot be resumed here because its choices or data differ, which would round differently.
    """
    start = record.provenance
    if folder.has("record.json"):
        before = folder.read("record.json", Record)
        for what, old, new in (
            ("choices", before.choices, record.choices),
            ("data", dataclasses.asdict(before.data), dataclasses.asdict(record.data)),
        ):
            if changed := [f"{key}: {old.get(key)} -> {new[key]}" for key in new if old.get(key) != new[key]]:
                text = "; ".join(changed)[:400]
                raise RequestError(f"{folder.path} cannot be resumed here, its {what} differ: {text}")
        start, attachments = _renamed(start, attachments, len(before.resumed) + 1)
        record = dataclasses.replace(before, resumed=(*before.resumed, start))
    for name, content in attachments.items():
        folder.write_bytes(name, content)
    folder.write("record.json", record)
    return record


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
