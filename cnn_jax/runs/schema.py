"""What the files of a run and of a sweep say, as types: the result, the record, a row of a sweep's table.

One version of the schema, read strictly; what an older version wrote is refused in one line.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from cnn_jax import schema
from cnn_jax.errors import RequestError
from cnn_jax.metrics import Evaluation

SCHEMA = 2


def later(default: Any) -> Any:
    """A field that files of this schema may lack, since it was added after some were written."""
    return field(default=default, metadata={"later": True})


Status = Literal["complete", "diverged", "interrupted", "failed"]
ENDED = ("complete", "diverged")  # what --resume does not train again


@dataclass(frozen=True)
class Result:
    """result.json: how a run ended.

    `diverged` means a non-finite loss or parameter and nothing else; such a run has no metrics. `at_chance` is a
    property of a complete run (`prepared.at_chance`), which keeps its metrics. `scored_step` is the step of the weights
    that were scored. `validation` is None where the network was trained on those images too (`final_fit`), `test` where
    the split was not scored. Seconds are wall time.
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
        """RequestError for anything but what `to_json` gives."""
        return schema.from_json(cls, values, "result")


@dataclass(frozen=True)
class Repository:
    """The state of a git repository when a run started. `diff` is the name of the file beside the record that holds
    what tracked files differ in from the commit; None where nothing differs."""

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
    """A file of code that took part and belongs to no installed package: its path, the sha256 of its content, the name
    of the copy beside the record, and the commit that has this very content (None if no commit has)."""

    path: str
    sha256: str
    copy: str
    commit: str | None


@dataclass(frozen=True)
class Provenance:
    """Where a program ran, and with what: the first start of a run, or one of its resumptions.

    `repository` is that of this package (None where it is not in a git checkout); `script` the program that was
    started (None where it was typed in), `modules` what it took from beside the package. `environment` are the
    variables that change what JAX, XLA and CUDA do, `settings` what this process had set for speed, `plugins` the files
    whose parts were registered, in that order.
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
    """What a run says of its data; `splits` are numbers of images, as trained with and scored."""

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
    """record.json: what someone else needs to run it again and to judge its numbers.

    `config` is the run's, or the sweep's with its axes; `choices` were made for speed when it began. The last fields
    are added when it ends; `plan`, `trials` and `test_scored` (numbers of trials) belong to sweeps.
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
    resumed: tuple[Provenance, ...] = ()
    notes: tuple[str, ...] = ()
    plan: dict[str, Any] | None = None
    finished: str | None = None
    compile_seconds: float | None = None
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
        """RequestError for anything but what `to_json` gives."""
        return schema.from_json(cls, values, "record")
