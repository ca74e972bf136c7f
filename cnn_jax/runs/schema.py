"""Types of the files of a run or sweep: result and record.

There is one schema version, read strictly; files of older versions are rejected with one line.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from cnn_jax import schema
from cnn_jax.errors import RequestError
from cnn_jax.metrics import Evaluation

SCHEMA = 2


def later(default: Any) -> Any:
    """A field that may be missing in files of this schema because it was added later."""
    return field(default=default, metadata={"later": True})


Status = Literal["complete", "diverged", "interrupted", "failed"]
ENDED = ("complete", "diverged")  # not trained again by --resume


@dataclass(frozen=True)
class Result:
    """result.json: how a run ended.

    `diverged` means a non-finite loss or parameter and nothing else; such a run has no metrics. `at_chance` is a
    property of a complete run (`task.at_chance`), which keeps its metrics. `scored_step` is the step of the weights
    that were scored. `validation` is None if the network was also trained on those images (`final_fit`), `test` if the
    split was not scored. Seconds are wall time.
    """

    status: Status
    at_chance: bool | None
    reason: str | None
    diverged_step: int | None
    scored_step: int | None
    validation: Evaluation | None
    test: Evaluation | None
    epochs: int
    steps: int
    parameters: int
    compile_seconds: float
    train_seconds: float
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        complete, diverged = self.status == "complete", self.status == "diverged"
        scored = self.validation is not None or self.test is not None
        if complete != (self.at_chance is not None) or complete != (self.scored_step is not None):
            raise RequestError("only a complete run is at chance or not, and has weights that were scored")
        if diverged != (self.diverged_step is not None) or (scored and not complete):
            raise RequestError(f"a run that is {self.status} cannot have these metrics or this diverged_step")

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def to_json(self) -> dict[str, Any]:
        return {name: schema.to_json(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, values: Any) -> "Result":
        """Inverse of `to_json`. Raises RequestError for any other input."""
        return schema.from_json(cls, values, "result")


@dataclass(frozen=True)
class Repository:
    """The state of a git repository when a run started. `diff` is the name of the file beside the record with the
    changes of tracked files since the commit; None if there are none."""

    root: str
    commit: str
    modified: tuple[str, ...]
    untracked: tuple[str, ...]
    diff: str | None

    @property
    def dirty(self) -> bool:
        return bool(self.modified or self.untracked)


@dataclass(frozen=True)
class Source:
    """A code file used by a run that belongs to no installed package: its path, the sha256 of its content, the name of
    the copy beside the record, and the commit with exactly this content (None if there is none)."""

    path: str
    sha256: str
    copy: str
    commit: str | None


@dataclass(frozen=True)
class Provenance:
    """How a program ran: the first start of a run, or one of its resumptions.

    `repository` is this package's (None outside a git checkout), `script` the program that was started (None in an
    interactive session), `modules` the files it imported from outside installed packages. `environment` has the
    variables that affect JAX, XLA and CUDA, `settings` what this process had set for speed, `plugins` the files that
    registered parts, in order.
    """

    argv: tuple[str, ...]
    command: str
    started: str
    repository: Repository | None
    script: Source | None
    modules: tuple[Source, ...]
    versions: dict[str, str]
    lock_sha256: str | None
    device: dict[str, Any]
    driver: str | None
    environment: dict[str, str]
    settings: tuple[str, ...]
    plugins: tuple[Source, ...] = later(())


@dataclass(frozen=True)
class Data:
    """The data of a run. `splits` are the numbers of images used for training and scoring."""

    name: str
    sha256: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: dict[str, int]
    source: dict[str, Any]


@dataclass(frozen=True)
class Record:
    """record.json: what others need to repeat a run and to judge its numbers.

    `config` is the run's, or the sweep's with its axes; `choices` are the settings chosen for speed at its start. The
    last fields are added at its end; `compilations` counts the programs that its process took from the cache (`hits`)
    and added to it (`misses`); `plan`, `trials` and `test_scored` (trial numbers) are for sweeps.
    """

    provenance: Provenance
    config: dict[str, Any]
    config_hash: str
    seeds: dict[str, Any]
    precision: str
    weights_scored: str
    choices: dict[str, Any]
    data: Data
    init_sha256: str | None = None
    teacher_sha256: str | None = later(None)
    resumed: tuple[Provenance, ...] = ()
    notes: tuple[str, ...] = ()
    plan: dict[str, Any] | None = None
    finished: str | None = None
    compile_seconds: float | None = None
    compilations: dict[str, int] | None = later(None)  # noqa: RUF009
    train_seconds: float | None = None
    images_per_second: float | None = None
    peak_memory: dict[str, int] = field(default_factory=dict)
    trials: int | None = None
    test_scored: tuple[int, ...] = ()
    schema: int = SCHEMA

    @property
    def starts(self) -> tuple[Provenance, ...]:
        """The first start and every resumption."""
        return (self.provenance, *self.resumed)

    def to_json(self) -> dict[str, Any]:
        return {name: schema.to_json(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, values: Any) -> "Record":
        """Inverse of `to_json`. Raises RequestError for any other input."""
        return schema.from_json(cls, values, "record")
