"""The config of a run: validated when created, and written into the folder of the run."""

import dataclasses
import difflib
import hashlib
import json
import math
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from cnn_jax import notation
from cnn_jax.data.images import size_of
from cnn_jax.errors import RequestError, quote
from cnn_jax.layers import Shape
from cnn_jax.losses import LOSSES
from cnn_jax.network import Network
from cnn_jax.training import augment, schedule
from cnn_jax.training.optimizer import optimizer_of
from cnn_jax.training.views import Views
from cnn_jax.typed import convert
from cnn_jax.variants import with_filters
from cnn_jax.zoo import build, layers_of

DEFAULT_NETWORK = "conv3-16:same relu max2 conv3-32:same relu max2 dense-64 relu dense-classes"


@dataclass(frozen=True)
class Config:
    """One training run. Raises RequestError for an invalid value or combination."""

    network: str | list[dict[str, Any]] = DEFAULT_NETWORK
    """A network in the notation, a registered name, or (from a file) its JSON form."""
    network_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of a registered network, e.g. depth=20."""
    filters: int | None = None
    """Filters of the first convolution; the others scale in proportion."""
    dataset: str = "digits"
    """digits, mnist, fashion_mnist, cifar10 or another of `cnn-jax data list`, a prepared TFDS data set, a folder of
    images, a zip file of one, or a .npz file of arrays."""
    data_dir: str | None = None
    """Folder of archives and prepared TFDS data sets; only read."""
    image_size: int | str | None = None
    """Resize images to NxN pixels, or to HxW, e.g. 48x64."""
    resize: Literal["squash", "fit", "crop"] = "squash"
    """How to resize: squash changes the aspect ratio, fit adds black borders, crop cuts off what does not fit."""
    stream: bool = False
    """Read the training images from disk as needed: for prepared TFDS data sets that do not fit in memory."""
    validation: int | None = None
    """Number of validation examples taken from the training split (default: that of the data set)."""
    train_examples: int | None = None
    """Train on this many examples only; a smaller subset is always part of a larger one (default: all)."""
    without_test: bool = False
    """Accept data without a test split: then there is no test score, and nothing can be cited."""

    epochs: int = 10
    """Passes over the training split."""
    batch_size: int = 128
    """Examples per step; the last batch of an epoch may be smaller."""
    learning_rate: float = 0.01
    """Step size of the optimizer, before the schedule."""
    optimizer: str = "sgd"
    """sgd, signsgd (the sign of the update of sgd), adam, adamw, muon (orthogonal updates of filters), one of optax
    (optax.lion), or a registered one."""
    optimizer_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of the optimizer other than the fields below, e.g. b1=0.95; each number can be an axis."""
    momentum: float = 0.9
    """Momentum of sgd and signsgd, or the first-moment decay of adam and adamw; those of optax take optimizer_args."""
    nesterov: bool = False
    """Nesterov momentum."""
    weight_decay: float = 0.0
    """L2 on kernels: part of the gradient for sgd, signsgd and adam, decoupled from it for adamw."""
    rates: dict[str, float] = field(default_factory=dict)
    """Factors on the learning rate of groups of parameters: biases, norms, filters, head, a layer (conv1) or an
    array (conv1/kernel); 0 freezes it."""
    decays: dict[str, float] = field(default_factory=dict)
    """Weight decay of groups of parameters, in the gradient, instead of weight_decay; the groups as for rates."""
    clip_norm: float | None = None
    """Scale the gradient down to this global norm."""
    accumulate: int = 1
    """Split every batch into this many parts, whose gradients are summed before the update."""
    backward: Literal["gradient", "feedback_alignment"] = "gradient"
    """Weights in the backward pass: gradient, the transposed weights; feedback_alignment, fixed random ones."""
    gradient_noise: float = 0.0
    """Variance of the normal noise added to the gradient at the first step; it decays as (1 + step)^-0.55."""
    sam: float = 0.0
    """Radius of sharpness-aware minimisation: the gradient is taken at weights that far up the gradient (0: off)."""
    ema: float = 0.0
    """Decay per step of a moving average of the weights, which is evaluated instead of the weights (0: off)."""
    fresh_statistics: bool = False
    """Compute the statistics of batch norm anew for averaged weights at the end of each epoch, over the training images
    as they are."""

    schedule: str = "constant"
    """How the learning rate changes over the run: constant, step, cosine, linear, trapezoid, onecycle
    (learning_rate is its peak), a schedule of optax (optax.polynomial_schedule), or a registered one."""
    schedule_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of the schedule, e.g. power=2."""
    warmup_epochs: float = 0.0
    """Epochs of linear warm-up of the learning rate from 0; onecycle has its own."""
    decay_epochs: tuple[float, ...] = ()
    """Epochs of the run, warm-up included, after which schedule `step` multiplies the learning rate by decay_factor."""
    decay_factor: float = 0.1
    """Factor on the learning rate at each of the decay_epochs."""

    loss: str = "cross_entropy"
    """cross_entropy, squared_error or a registered loss."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes."""
    initialiser: Literal["he", "glorot", "lecun", "normal", "dirac"] = "he"
    """Distribution of the initial kernels; with dirac, the first filters of a convolution pass a channel on."""
    init_scale: float = 1.0
    """Factor on the initial kernels."""
    dropout: float | None = None
    """Rate of every dropout layer, instead of the network's own."""
    teacher: str | None = None
    """Folder of a finished run whose outputs are learned beside the labels, on the same augmented images."""
    teacher_weight: float = 0.9
    """Share of the loss that the teacher has; the labels have the rest."""
    temperature: float = 4.0
    """Divides the logits of teacher and network before they are compared."""
    augment: str = ""
    """Augmentations separated by spaces: flip or alternate_flip, crop<pad> or shift<pad>, jitter<strength>,
    randaugment<magnitude>, cutout<size>, erase<probability>, mixup<alpha> or cutmix<alpha>, and, first and with stream,
    resized_crop<min_area>."""

    init: str | None = None
    """Start from the weights of a run folder, a file (npz, safetensors) or zoo:NAME (see docs/zoo.md) instead of random
    ones; the last layer starts at random if it does not fit."""
    seed: int = 0
    """Seed of the initial weights, the order of the examples, dropout and augmentation."""
    split_seed: int | None = 0
    """Seed of every random split: validation, the test split of a source without one, the train_examples. None: the
    seed of the run, so that what varies between seeds includes the choice of the examples (bouthillier2021accounting).
    """
    keep_all: bool = False
    """Keep a checkpoint of every epoch, instead of the newest two and the best."""
    select: Literal["final", "best"] = "final"
    """Which weights to score on the test split: the final ones or those with the best validation accuracy."""
    views: Views = "one"
    """Views of each image whose logits are averaged when a finished network is scored: flip adds the mirror image,
    flip_shift both shifted by one pixel."""
    final_fit: bool = False
    """Train on the training and validation images together, and score the test split. A sweep first chooses its cell on
    the validation images without training on them, then trains that cell on both, with the same seeds."""
    precision: Literal["highest", "high", "default"] = "highest"
    """Precision of float32 matrix products and convolutions on accelerators; highest means no TF32 and no bfloat16."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of the activations; parameters stay float32."""
    implementation: Literal["auto", "lax", "canonical", "native"] = "auto"
    """Implementation of convolution and pooling; auto is the fastest available (see `python -m cnn_jax ops`)."""
    remat: bool = False
    """Compute the inside of blocks again in the backward pass, which saves memory in deep networks."""
    devices: int | None = None
    """Number of devices to split each batch over, in all its processes (default: all)."""
    hosts: int | None = None
    """Number of processes that train a run together (default: all; in a sweep 1)."""

    def __post_init__(self):
        if isinstance(self.network, Network):
            object.__setattr__(self, "network", _to_text_or_json(self.network))
        for name, hint in typing.get_type_hints(Config).items():
            object.__setattr__(self, name, convert(name, getattr(self, name), hint))
        for name, (ok, what) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not ok(value):
                raise RequestError(f"{name} = {quote(value)} must be {what}")
            if isinstance(value, float) and (not ok(rounded := _in_float32(value)) or bool(rounded) != bool(value)):
                raise RequestError(
                    f"{name} = {value!r} is {rounded:g} in float32, in which training computes; it must be {what}"
                )
        if self.final_fit and self.select == "best":
            raise RequestError("final_fit trains on the validation images: select = 'best' has none left to choose by")
        if self.batch_size % self.accumulate:
            raise RequestError(f"batch_size {self.batch_size} does not split in accumulate = {self.accumulate} parts")
        if not LOSSES[self.loss].smooths and self.label_smoothing:
            raise RequestError(f"label_smoothing = {self.label_smoothing:g} is not for loss {self.loss!r}")
        for name in ("teacher_weight", "temperature"):
            if self.teacher is None and getattr(self, name) != getattr(Config, name):
                raise RequestError(f"{name} = {getattr(self, name):g} never acts without a teacher")
        self._check_schedule()
        optimizer_of(self)
        self._check_optimizer()
        augmentations = augment.parse(self.augment)
        if augment.crops(augmentations, self.seed, 0) and not self.stream:
            raise RequestError(f"{augment.RESIZED_CROP} cuts windows out of the stored images: it needs stream = True")
        if self.stream and (remembered := [a.name for a in augmentations if a.by_epoch]):
            raise RequestError(f"{remembered[0]} remembers each example: it needs the images in memory, without stream")
        mixing = [augmentation.name for augmentation in augmentations if augmentation.mixes]
        if mixing and self.batch_size == 1:
            raise RequestError(f"{mixing[0]} needs a batch_size of at least 2: it mixes the examples of a batch")
        _check_network(self.network, self.network_args, self.filters)
        size_of(self.image_size, self.resize)

    def _check_schedule(self):
        """Checks that do not need the number of steps; see `schedule.check_schedule` for the others."""
        parameters = schedule.parameters_of(self.schedule)
        if self.schedule == "step" and not self.decay_epochs:
            raise RequestError("schedule 'step' needs decay_epochs, e.g. --decay-epochs 10 15")
        if "decay_epochs" not in parameters and self.decay_epochs:
            raise RequestError(f"decay_epochs belong to schedule 'step', not to {self.schedule!r}")
        if "decay_factor" not in parameters and self.decay_factor != Config.decay_factor:
            raise RequestError(f"decay_factor belongs to schedule 'step', not to {self.schedule!r}")
        if self.schedule == "onecycle" and self.warmup_epochs:
            raise RequestError("schedule 'onecycle' has a warm-up of its own: leave out warmup_epochs")
        if self.warmup_epochs > self.epochs:
            raise RequestError(
                f"warmup_epochs = {self.warmup_epochs:g} is more than the {self.epochs} epochs of the run"
            )
        for epoch in self.decay_epochs:
            if epoch >= self.epochs:
                raise RequestError(
                    f"decay_epochs: a decay after epoch {epoch:g} never acts in a run of {self.epochs} epochs"
                )
            if epoch < self.warmup_epochs:
                raise RequestError(
                    f"decay_epochs: a decay after epoch {epoch:g} lies in the warm-up of {self.warmup_epochs:g} epochs"
                )

    def _check_optimizer(self):
        for name in ("rates", "decays"):
            for group, value in getattr(self, name).items():
                if not 0 <= value < math.inf:
                    raise RequestError(f"{name}: {group} = {value!r} must be at least 0")
        if self.ema and optimizer_of(self)[0].averages:
            raise RequestError(f"{self.optimizer} averages the weights itself: leave out ema")
        if self.fresh_statistics and not (self.ema or optimizer_of(self)[0].averages):
            raise RequestError("fresh_statistics are for averaged weights: give ema, or an optimizer that averages")
        if self.fresh_statistics and self.stream:
            raise RequestError("fresh_statistics need the training images in memory: leave out stream")
        if self.decays and self.weight_decay:
            raise RequestError("decays name the groups that decay: leave out weight_decay")
        if self.nesterov and not self.momentum:
            raise RequestError("nesterov never acts without momentum: give a momentum above 0")
        if self.clip_norm and self.optimizer == "signsgd" and not self.momentum and not self.weight_decay:
            raise RequestError(
                "clip_norm never acts on signsgd without momentum and weight_decay: a sign does not depend on length"
            )

    @property
    def seed_of_split(self) -> int:
        return self.seed if self.split_seed is None else self.split_seed

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, values: Any) -> "Config":
        """The inverse of `to_json`; missing fields get their default. Raises RequestError for an unknown name or a
        wrong type, with what is valid."""
        if not isinstance(values, dict):
            raise RequestError(f"a config is a JSON object of fields, not {quote(values)}")
        hints = typing.get_type_hints(cls)
        for name in values:
            if name not in hints:
                near = difflib.get_close_matches(name, hints, n=1)
                guess = f" (did you mean {quote(near[0])}?)" if near else ""
                raise RequestError(f"config field {quote(name)} is unknown{guess}; fields are {', '.join(hints)}")
        return cls(**values)

    def build(self, input_shape: Shape, classes: int) -> Network:
        """The network of this config for images of `input_shape` (height, width, channels). Raises RequestError if it
        does not fit them."""
        return build(self.network, input_shape, classes, self.filters, self.network_args)

    def __hash__(self) -> int:
        return hash(self.hash())

    def hash(self) -> str:
        """The first 12 hex digits of the sha256 of the config as sorted JSON."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]


def _to_text_or_json(network: Network) -> str | list[dict[str, Any]]:
    """A network as text if the notation can express it, else as JSON."""
    try:
        return notation.format(network.layers)
    except RequestError:
        return notation.to_json(network.layers)


def differences(old: Config, new: Config) -> list[str]:
    """The fields in which two configs differ, as 'name: old -> new'."""
    a, b = old.to_json(), new.to_json()
    return [f"{name}: {quote(a[name])} -> {quote(b[name])}" for name in a if a[name] != b[name]]


def _check_network(network: str | list[dict[str, Any]], arguments: dict[str, Any], filters: int | None) -> None:
    """Raises RequestError for an invalid network, or if it has no filters to set."""
    layers = layers_of(network, arguments)
    if not layers:
        raise RequestError("network is empty: it needs at least one layer")
    if filters is not None:
        with_filters(layers, filters)


def _in_float32(value: float) -> float:
    """The value that a training step uses: float32, with subnormal numbers as 0."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = np.float32(value)
    return float(rounded) if abs(rounded) >= np.finfo(np.float32).tiny else 0.0


def _positive(value: Any) -> bool:
    return value > 0 and math.isfinite(value)


_RANGES = {
    "filters": (_positive, "at least 1"),
    "validation": (_positive, "at least 1"),
    "train_examples": (_positive, "at least 1"),
    "epochs": (_positive, "at least 1"),
    "batch_size": (_positive, "at least 1"),
    "learning_rate": (_positive, "a positive number"),
    "momentum": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "weight_decay": (lambda x: x >= 0 and math.isfinite(x), "at least 0"),
    "clip_norm": (_positive, "a positive number"),
    "accumulate": (_positive, "at least 1"),
    "gradient_noise": (lambda x: x >= 0 and math.isfinite(x), "at least 0"),
    "sam": (lambda x: x >= 0 and math.isfinite(x), "at least 0"),
    "ema": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "warmup_epochs": (lambda x: x >= 0 and math.isfinite(x), "at least 0"),
    "decay_epochs": (lambda x: all(a > 0 for a in x) and list(x) == sorted(x), "positive and increasing"),
    "decay_factor": (_positive, "a positive number"),
    "teacher_weight": (lambda x: 0 < x <= 1, "in (0, 1]"),
    "temperature": (_positive, "a positive number"),
    "label_smoothing": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "dropout": (lambda x: 0 <= x < 1, "in [0, 1)"),
    "init_scale": (_positive, "a positive number"),
    "seed": (lambda x: 0 <= x < 2**32, "in [0, 2^32)"),
    "split_seed": (lambda x: 0 <= x < 2**32, "in [0, 2^32)"),
    "devices": (_positive, "at least 1"),
    "hosts": (_positive, "at least 1"),
}
