"""Predictions of a trained network for image files, and its scores on any split of any data set."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_jax.data import Dataset, Split
from cnn_jax.errors import DataError, RequestError
from cnn_jax.metrics import Evaluation
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.provenance import provenance
from cnn_jax.runs.task import Task
from cnn_jax.schema import to_json
from cnn_jax.training.config import Config

SUFFIXES = (".png", ".jpg", ".jpeg")
BATCH = 256  # images per batch


@dataclass(frozen=True)
class Prediction:
    """The class probabilities of an image, or the error why its file cannot be read."""

    image: str
    probabilities: dict[str, float]
    error: str | None = None

    def ranked(self) -> list[tuple[str, float]]:
        """Classes and probabilities, most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])

    def to_json(self) -> dict[str, Any]:
        return {"image": self.image, "prediction": self.ranked()[0][0], "probabilities": self.probabilities}


def predict(run: Path | str, images: Sequence[Path]) -> Iterator[Prediction]:
    """Predicts the classes of image files.

    Args:
      run: the folder of a run, or of a sweep to use its best run.
      images: JPEG or PNG files, or folders of them.

    Yields:
      The prediction for each file, in order; for an unreadable file, its error.

    Raises:
      RequestError: there are no images.
    """
    files = [file for path in images for file in _files(path)]
    if not files:
        raise RequestError("there is no image to predict: give JPEG or PNG files, or folders of them")
    model = TrainedModel.load(run)
    for start in range(0, len(files), BATCH):
        yield from _predict(model, files[start : start + BATCH])


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)


def _predict(model: TrainedModel, files: Sequence[Path]) -> Iterator[Prediction]:
    images: list[np.ndarray] = []
    errors: dict[Path, str] = {}
    for file in files:
        try:
            images.append(model.read([file])[0])
        except DataError as error:
            errors[file] = str(error)
    rows = iter(model.probabilities(np.stack(images)) if images else ())
    for file in files:
        if file in errors:
            yield Prediction(str(file), {}, errors[file])
        else:
            yield Prediction(str(file), dict(zip(model.class_names, map(float, next(rows)), strict=True)))


@dataclass(frozen=True)
class Scored:
    """An evaluation of a trained network, and the file in which it is saved."""

    dataset: str
    split: str
    sha256: str
    evaluation: Evaluation
    path: Path

    def to_json(self) -> dict[str, Any]:
        data = {"dataset": self.dataset, "split": self.split, "sha256": self.sha256}
        return {**data, **self.evaluation.to_json(), "path": str(self.path)}


def score(run: Path | str, split: str, data: Dataset, trained_on: str) -> Scored:
    """Scores the weights of a run's result on a split, normalised with the mean and std of its training data.

    Args:
      run: the folder of a run, or of a sweep to use its best run.
      split: train, validation or test.
      data: the data set to score.
      trained_on: the name of the training data, for the file.

    Returns:
      The scores, which are also saved in the folder `evaluations` of the run.

    Raises:
      RequestError: the data have other classes or another shape, or the split is missing or empty.
    """
    model = TrainedModel.load(run)
    assert model.folder is not None
    part = getattr(data, split)
    if not isinstance(part, Split) or not len(part):
        raise RequestError(f"{data.name} has no {split} split in memory to score")
    if data.class_names != model.class_names:
        raise RequestError(
            f"{data.name} has the classes {', '.join(data.class_names)[:200]}, the network was trained for "
            f"{', '.join(model.class_names)[:200]}"
        )
    renormalised = dataclasses.replace(data, test=part, known=data.facts)
    renormalised.__dict__["_moments"] = (model.mean, model.std)
    config = dataclasses.replace(  # without what is not needed any more, and may be gone
        model.config, init=None, teacher=None, teacher_weight=Config.teacher_weight, temperature=Config.temperature
    )
    task = Task.of(config, renormalised, devices=1)
    evaluation = task.score(model.state(task.program), "test")
    folder = Folder(model.folder.file("evaluations"))
    name = f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in data.name)}-{split}.json"
    start, attachments = provenance()
    for attachment, content in attachments.items():
        folder.write_bytes(attachment, content)
    scored = Scored(data.name, split, data.fingerprint, evaluation, folder.file(name))
    folder.write_json(
        name, scored.to_json() | {"trained_on": trained_on, "data": data.source, "provenance": to_json(start)}
    )
    return scored
