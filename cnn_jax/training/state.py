"""What a training step reads and writes, as pytrees."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from cnn_jax import metrics, ops, randomness
from cnn_jax.errors import RequestError
from cnn_jax.layers import INITIALISERS, Dropout
from cnn_jax.metrics import Totals
from cnn_jax.network import Network
from cnn_jax.training import augment
from cnn_jax.training.config import Config
from cnn_jax.training.optimizer import make_direction

# For a program that runs once: with all optimizations XLA:CPU compiles it three times as long, to the same bits.
ONCE = {"xla_backend_optimization_level": 1}


class Examples(NamedTuple):
    """One split on the device, and how its pixels are normalised."""

    images: Array  # uint8 (n, height, width, channels)
    labels: Array  # int32 (n,)
    mean: Array  # float32 (channels,), of the training split, in units of 0 … 1
    std: Array


class Hyper(NamedTuple):
    """The numbers of a config that are traced: another value is the same program."""

    momentum: Array
    weight_decay: Array
    clip_norm: Array
    ema: Array
    label_smoothing: Array
    dropout: Array
    gradient_noise: Array


class State(NamedTuple):
    """All that changes from step to step."""

    step: Array  # int32, steps done
    params: Any
    batch_stats: Any
    direction: Any  # the optimizer's state
    ema: Any  # averaged parameters, {} when off
    totals: Totals  # training metrics of the epoch so far
    diverged_step: Array  # int32, the first step with a non-finite loss or parameter, -1 before


@dataclass(frozen=True)
class Program:
    """What shapes the compiled step: two configs with the same program share it."""

    network: Network
    loss: str
    optimizer: str
    nesterov: bool
    clip: bool
    ema: bool
    accumulate: int
    augmentations: tuple[augment.Augmentation, ...]
    dropout: bool
    feedback: bool
    noise: bool
    dtype: str
    precision: str
    devices: int
    implementation: ops.Implementation

    @classmethod
    def of(
        cls,
        config: Config,
        network: Network,
        devices: int | None = None,
        implementation: ops.Implementation | None = None,
    ) -> "Program":
        """The program of a config on `devices` local devices (default: as many as the config says, or all), with the
        implementation of convolution and pooling that it says (auto: `implementation`, or what is best here)."""
        if config.dropout is not None and not any(isinstance(node.layer, Dropout) for node in network.walk()):
            raise RequestError(f"dropout = {config.dropout}, but the network has no drop layer")
        augmentations = augment.parse(config.augment)
        augment.check_sizes(augmentations, *network.input_shape[:2])
        available = jax.local_device_count()
        devices = devices or config.devices or available
        if devices > available:
            raise RequestError(f"devices = {devices}, but JAX sees {available}")
        return cls(
            network=network,
            loss=config.loss,
            optimizer=config.optimizer,
            nesterov=config.nesterov,
            clip=config.clip_norm is not None,
            ema=config.ema > 0,
            accumulate=config.accumulate,
            augmentations=augmentations,
            dropout=config.dropout is not None,
            feedback=config.backward == "feedback_alignment",
            noise=config.gradient_noise > 0,
            dtype=config.dtype,
            precision=config.precision,
            devices=devices,
            implementation=ops.resolve(implementation or config.implementation),
        )

    @property
    def axis_name(self) -> str | None:
        """The mesh axis of the batch, where there is more than one device."""
        return "batch" if self.devices > 1 else None

    def direction(self, hyper: Hyper):
        """The optimizer's gradient transformation with traced numbers."""
        return make_direction(
            self.optimizer, self.nesterov, self.clip, hyper.momentum, hyper.weight_decay, hyper.clip_norm
        )


def hyper_of(config: Config) -> Hyper:
    """The traced numbers of a config as float32 scalars."""
    clip_norm = config.clip_norm if config.clip_norm is not None else float("inf")
    values = (
        config.momentum,
        config.weight_decay,
        clip_norm,
        config.ema,
        config.label_smoothing,
        config.dropout or 0.0,
        config.gradient_noise,
    )
    return Hyper(*(jnp.asarray(value, jnp.float32) for value in values))


def initial_state(config: Config, program: Program) -> State:
    """The state before the first step, from the config's seed alone."""
    init = _compiled_init(program, config.initialiser)
    key = randomness.initial_weights(randomness.run_key(config.seed))
    return init(key, jnp.float32(config.init_scale), hyper_of(config))


@functools.lru_cache(maxsize=64)
def _compiled_init(program: Program, initialiser: str):
    def init(key: Array, scale: Array, hyper: Hyper) -> State:
        variables = program.network.init(key, INITIALISERS[initialiser](scale))
        params = variables["params"]
        return State(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=variables["batch_stats"],
            direction=program.direction(hyper).init(params),
            ema=jax.tree.map(jnp.copy, params) if program.ema else {},
            totals=metrics.zero(),
            diverged_step=jnp.full((), -1, jnp.int32),
        )

    return jax.jit(init, compiler_options=ONCE if jax.default_backend() == "cpu" else None)
