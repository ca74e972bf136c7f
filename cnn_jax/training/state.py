"""The inputs and outputs of a training step, as pytrees."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cnn_jax import metrics, ops, randomness, registry
from cnn_jax.errors import RequestError
from cnn_jax.layers import INITIALISERS, Dropout
from cnn_jax.losses import LOSSES, Loss
from cnn_jax.metrics import Totals
from cnn_jax.network import Network
from cnn_jax.training import augment, groups
from cnn_jax.training.config import Config
from cnn_jax.training.devices import check_devices, replicate
from cnn_jax.training.optimizer import Optimizer, optimizer_of
from cnn_jax.training.trials import Transform
from cnn_jax.training.views import Views

# For a program that runs once: with all optimizations XLA:CPU takes three times as long to compile it, for the same
# result.
ONCE = {"xla_backend_optimization_level": 1}


class Examples(NamedTuple):
    """One split on the device, with the mean and std that normalise its pixels."""

    images: Array  # uint8 (n, height, width, channels)
    labels: Array  # int32 (n,)
    mean: Array  # float32 (channels,), of the training split, in units of 0 … 1
    std: Array
    teacher: Any = ()  # its `Answers`, if the program has a teacher


class Answers(NamedTuple):
    """What a teacher needs to answer: its variables, and the mean and std that normalise its input."""

    variables: Any
    mean: Array  # float32 (channels,)
    std: Array


class Teacher(NamedTuple):
    """The network that a program learns from. Programs with other sources are not the same."""

    source: str
    network: Network


class TrainState(NamedTuple):
    """Everything that a training step updates."""

    step: Array  # int32, steps done
    params: Any
    batch_stats: Any
    opt_state: Any
    ema: Any  # averaged parameters, {} when off
    totals: Totals  # training metrics of the epoch so far
    diverged_step: Array  # int32, the first step with a non-finite loss or parameter, -1 if there is none


@dataclass(frozen=True)
class Program:
    """Everything that determines the compiled step: configs with equal programs share it."""

    network: Network
    loss: Loss
    optimizer: Optimizer
    ema: bool  # whether averaged parameters are kept
    fresh_statistics: bool
    remat: bool
    sam: bool
    accumulate: int
    augmentations: tuple[augment.Augmentation, ...]
    dropout: bool
    feedback: bool
    noise: bool
    dtype: str
    precision: str
    devices: int  # in all processes
    hosts: int  # processes that train together
    streamed: bool  # the training images are divided among the devices, not the same on all
    implementation: ops.Implementation
    parts: int  # the generation of the registries in which layers and metrics are looked up
    transform: Transform = None  # over the trials, if there are several
    views: Views = "one"  # of each image, in an evaluation
    teacher: Teacher | None = None
    contained: tuple[Network, ...] = ()  # the networks of the trials, if they differ: `network` is their union

    @classmethod
    def of(
        cls,
        config: Config,
        network: Network,
        devices: int | None = None,
        implementation: ops.Implementation | None = None,
        hosts: int = 1,
        teacher: Teacher | None = None,
    ) -> "Program":
        """The program of a config.

        Args:
          devices: number of devices (default: that of the config, or all of the hosts).
          implementation: of convolution and pooling (default: that of the config; if it says auto, the best available).
          hosts: number of processes that train together.
          teacher: the network to learn from.

        Raises RequestError for a config that does not fit the network or the devices.
        """
        if config.dropout is not None and not any(isinstance(node.layer, Dropout) for node in network.walk()):
            raise RequestError(f"dropout = {config.dropout}, but the network has no drop layer")
        augmentations = augment.parse(config.augment)
        augment.check(augmentations, network.input_shape)
        optimizer = dataclasses.replace(
            optimizer_of(config)[0],
            rates=groups.assign(network, config.rates, "rates"),
            decays=groups.assign(network, config.decays, "decays"),
        )
        devices = devices or config.devices or jax.local_device_count() * hosts
        check_devices(devices, hosts)
        return cls(
            network=network,
            loss=LOSSES[config.loss],
            optimizer=optimizer,
            ema=config.ema > 0 or optimizer.averages,
            fresh_statistics=config.fresh_statistics,
            remat=config.remat,
            sam=config.sam > 0,
            accumulate=config.accumulate,
            augmentations=augmentations,
            dropout=config.dropout is not None,
            feedback=config.backward == "feedback_alignment",
            noise=config.gradient_noise > 0,
            dtype=config.dtype,
            precision=config.precision,
            devices=devices,
            hosts=hosts,
            streamed=config.stream,
            implementation=ops.resolve(implementation or config.implementation),
            parts=registry.generation(),
            teacher=teacher,
        )

    @property
    def axis_name(self) -> str | None:
        """The mesh axis of the batch; None on a single device."""
        return "batch" if self.devices > 1 else None

    def network_of(self, config: Config) -> Network:
        """The network of a trial with this config."""
        return config.build(self.network.input_shape, self.network.outputs) if self.contained else self.network

    def run_key(self, seed: int) -> Array:
        """The key of a run with this seed."""
        return randomness.run_key(seed, ops.generator(self.implementation))

    def replicate(self, tree: Any) -> Any:
        """`tree`, the same in all processes, on each device."""
        return replicate(tree, self.devices, self.hosts)


def hparams_of(config: Config) -> dict[str, Any]:
    """The numbers of a config that are traced, as NumPy's float32: changing them does not change the program."""
    values = {
        "clip_norm": config.clip_norm if config.clip_norm is not None else float("inf"),
        "ema": config.ema,
        "sam": config.sam,
        "label_smoothing": config.label_smoothing,
        "teacher_weight": config.teacher_weight,
        "temperature": config.temperature,
        "dropout": config.dropout or 0.0,
        "gradient_noise": config.gradient_noise,
        "optimizer": optimizer_of(config)[1],
        "rates": config.rates,
        "decays": config.decays,
    }
    return jax.tree.map(np.float32, values)


def initial_state(config: Config, program: Program) -> TrainState:
    """The state before the first step, which depends only on the config and its seed."""
    return _compiled_init(program, config.initialiser)(*_initial_numbers(config, program))


def state_shapes(config: Config, program: Program) -> TrainState:
    """The shapes and dtypes of `initial_state`, as `jax.ShapeDtypeStruct`."""
    return _compiled_init(program, config.initialiser).eval_shape(*_initial_numbers(config, program))


def _initial_numbers(config: Config, program: Program) -> tuple[Array, np.float32, np.float32, dict[str, Any]]:
    key = randomness.initial_weights(program.run_key(config.seed))
    return key, np.float32(config.init_scale), np.float32(config.learning_rate), hparams_of(config)


@functools.lru_cache(maxsize=64)
def _compiled_init(program: Program, initialiser: str):
    def init(key: Array, scale: Array, learning_rate: Array, hparams: dict[str, Any]) -> TrainState:
        variables = program.network.init(key, INITIALISERS[initialiser](scale))
        params = variables["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=variables["batch_stats"],
            opt_state=program.optimizer(learning_rate, hparams).init(params),
            ema=jax.tree.map(jnp.copy, params) if program.ema else {},
            totals=metrics.zero(),
            diverged_step=jnp.full((), -1, jnp.int32),
        )

    return jax.jit(init, compiler_options=ONCE if jax.default_backend() == "cpu" else None)
