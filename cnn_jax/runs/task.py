"""A config ready to train: with its data, network and program."""

import dataclasses
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnn_jax import losses
from cnn_jax.data import Dataset, Split
from cnn_jax.errors import RequestError, shortened
from cnn_jax.metrics import Evaluation
from cnn_jax.network import Network
from cnn_jax.runs.model import TrainedModel, with_weights
from cnn_jax.statistics import above_chance
from cnn_jax.training.config import Config
from cnn_jax.training.devices import home_device
from cnn_jax.training.epoch import StreamedExamples, check_batch_norm, check_wrapped
from cnn_jax.training.fit import evaluate
from cnn_jax.training.schedule import check_schedule
from cnn_jax.training.state import Answers, Examples, Program, Teacher, TrainState, initial_state
from cnn_jax.training.step import normalise

FIRST_IMAGES = 5000  # training images that a layer `of_images` is computed from
MOST_BYTES = 2**32  # limit for images that stay on the device for later runs, besides those in use
_resident: OrderedDict[tuple, Examples] = OrderedDict()  # by content and device; least recently used first
_lock = threading.Lock()


@dataclass(frozen=True)
class Task:
    """A config with its data, network and program."""

    config: Config
    dataset: Dataset
    network: Network
    program: Program
    warnings: tuple[str, ...] = ()  # requests of the config that will have no effect
    teacher: TrainedModel | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        dataset: Dataset,
        backend_config: Mapping[str, Any] | None = None,
        devices: int | None = None,
        hosts: int = 1,
    ) -> "Task":
        """Builds the network and program of a config, and checks that they fit the data.

        Args:
          config: the config to train.
          dataset: the data.
          backend_config: the `choices` recorded by an interrupted run, reused on resume.
          devices: the number of devices if the config does not say.
          hosts: the number of processes that train together.

        Raises:
          RequestError: the config cannot be trained on this data here.
        """
        network = config.build(dataset.image_shape, dataset.classes)
        implementation = (backend_config or {}).get("implementation") if config.implementation == "auto" else None
        if network.of_images and not isinstance(dataset.train, Split):
            raise RequestError(f"{network.nodes[0].name} is computed from images in memory: leave out stream")
        teacher = None if config.teacher is None else _teacher(config.teacher, dataset)
        learned = None if teacher is None else Teacher(str(config.teacher), teacher.network)
        program = Program.of(config, network, config.devices or devices, implementation, hosts, learned)
        examples = len(dataset.train)
        warnings = check_schedule(config, math.ceil(examples / config.batch_size))
        warnings += check_batch_norm(config, program, examples) + check_wrapped(network)
        task = cls(config, dataset, network, program, tuple(warnings), teacher)
        if config.init is not None and backend_config is None:
            task.initial_state()  # raises if the weights do not fit
        return task

    def initial_state(self) -> TrainState:
        """The state before the first step, from the seed or the weights named by the config, and from the training
        images if the first layer is computed from them."""
        state = initial_state(self.config, self.program)
        if self.config.init is not None:
            return with_weights(state, self.network, self.config.init)
        if not self.network.of_images:
            return state
        variables = self.network.with_images({"batch_stats": state.batch_stats}, self._first_images())
        return state._replace(batch_stats=variables["batch_stats"])

    def _first_images(self) -> jax.Array:
        """The first training images, normalised: float32 (n, h, w, c)."""
        assert isinstance(self.dataset.train, Split)  # checked by `of`
        images = jnp.asarray(self.dataset.train.images[:FIRST_IMAGES]).astype(jnp.float32) / 255.0
        return normalise(images, self.dataset.mean, self.dataset.std, "float32")

    @property
    def train(self) -> Examples | StreamedExamples:
        """The training split: on the device, or streamed from disk."""
        answers: Any = ()
        if self.teacher is not None:
            answers = self.program.replicate(Answers(self.teacher.variables, self.teacher.mean, self.teacher.std))  # type: ignore[arg-type]
        if isinstance(self.dataset.train, Split):
            return self.examples("train")._replace(teacher=answers)
        return StreamedExamples(self.dataset.train, self.dataset.mean, self.dataset.std, answers)

    def examples(self, split: str) -> Examples:
        """A split on the device."""
        return _on_device(self.dataset, split, self.program, home_device())

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.dataset.train) / self.config.batch_size)

    @property
    def steps(self) -> int:
        """The number of steps of the whole run."""
        return self.steps_per_epoch * self.config.epochs

    @property
    def choices(self) -> dict[str, Any]:
        """Settings chosen for speed. Others would round differently, so a resumed run must use the same."""
        return {
            "backend": jax.default_backend(),
            "devices": self.program.devices,
            "hosts": self.program.hosts,
            "implementation": self.program.implementation,
        }

    def score(self, state: TrainState, split: str) -> Evaluation:
        """The metrics of a split, each example scored once, in the views of the config."""
        program = dataclasses.replace(self.program, views=self.config.views)
        return evaluate(program, state, self.examples(split), self.config.batch_size)

    def score_test(self, state: TrainState) -> Evaluation | None:
        """The metrics of the test split; None if the data have none."""
        return self.score(state, "test") if len(self.dataset.test) else None

    def at_chance(self, validation: Evaluation) -> bool:
        """See `at_chance`."""
        return at_chance(self.config.loss, self.dataset.validation.labels, validation)


def _teacher(source: str, dataset: Dataset) -> TrainedModel:
    """The network of a finished run. Raises RequestError if it is for other images or classes."""
    teacher = TrainedModel.load(source)
    images, classes = ("images", teacher.network.input_shape), ("classes", teacher.class_names)
    for (what, theirs), ours in zip((images, classes), (dataset.image_shape, dataset.class_names), strict=True):
        if theirs != ours:
            raise RequestError(
                f"teacher {source} is for {what} {shortened(str(theirs))}, the data have {shortened(str(ours))}"
            )
    return teacher


def at_chance(loss: str, labels: np.ndarray, evaluation: Evaluation) -> bool:
    """True if weights with this evaluation on these labels are no better than the class frequencies.

    This means that the mean loss is not below that of the best constant output, and the accuracy is not above the share
    of the largest class by an exact one-sided binomial test at 1 %. Example: all ReLUs are dead and only the last bias
    has learned.
    """
    frequencies = np.bincount(labels) / len(labels)
    if evaluation.loss < losses.best_constant(loss, frequencies):
        return False
    return not above_chance(evaluation.correct, evaluation.examples, float(frequencies.max()))


def _on_device(dataset: Dataset, split: str, program: Program, home: jax.Device) -> Examples:
    """A split on the device. Equal data are stored once; the least recently used are evicted."""
    key = (dataset.fingerprint, split, program.devices, program.hosts, home)
    with _lock:
        if key not in _resident:
            part: Split = getattr(dataset, split)
            arrays = map(np.asarray, (part.images, part.labels, dataset.mean, dataset.std))
            _resident[key] = program.replicate(Examples(*arrays))  # type: ignore[arg-type]
        _resident.move_to_end(key)
        while len(_resident) > 1 and sum(examples.images.nbytes for examples in _resident.values()) > MOST_BYTES:
            _resident.popitem(last=False)
        return _resident[key]
