"""The base of all layers: Flax Linen modules that are also descriptions.

A layer is a value (`Conv(32, 5)`), equal to another with the same fields. For a given input shape it computes
`output_shape`, `windows`, `parameters` and `multiply_adds` by arithmetic alone; called on images, it computes its
output. Shapes are of one example: (height, width, channels), or (features,) after a dense layer or a global pool.
Arrays have a leading batch axis. Parameters are created in float32 and used in the dtype of the images.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from cnn_jax.errors import RequestError, quote, reason
from cnn_jax.layers import spelling
from cnn_jax.ops import Window
from cnn_jax.registry import Registry

MOST_LAYERS = 10_000  # of a network
MOST_NESTED = 32  # blocks within blocks

Shape = tuple[int, ...]
Windows = tuple[Window, Window]
KernelInit = Callable[..., Array]  # (key, shape) -> float32 array
Spellings = Mapping[str, Mapping[str, Any]]

he = jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # he2015delving, 2.2
INITIALISERS: dict[str, Callable[[float | Array], KernelInit]] = {
    "he": lambda scale: _scaled(he, scale),
    "glorot": lambda scale: _scaled(jax.nn.initializers.glorot_uniform(), scale),  # glorot2010understanding, 4.2
    "lecun": lambda scale: _scaled(jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal"), scale),
    "dirac": lambda scale: _scaled(_passing_on, scale),
    "normal": lambda scale: _scaled(jax.nn.initializers.normal(0.01), scale),  # krizhevsky2012imagenet, 5
}


def _passing_on(key: Array, shape: Shape) -> Array:
    """For a convolution, uniform weights of variance 1 / (3 · inputs), except that each of the first filters passes on
    one input channel (jordan2024airbench, 3.2); for other kernels as `he`."""
    if len(shape) != 4:
        return he(key, shape)
    height, width, channels, features = shape
    kernel = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")(key, shape)
    same = jnp.zeros((height, width, channels, channels)).at[height // 2, width // 2].set(jnp.eye(channels))
    return kernel.at[..., :channels].set(same[..., :features])


def _scaled(init: KernelInit, scale: float | Array) -> KernelInit:
    return lambda key, shape: scale * init(key, shape)


class Layer(nn.Module):
    """Base of all layers.

    Class attributes:
      kind: the prefix of the numbered layer names (conv1, relu2).
      context: the keyword arguments that a call of the layer takes beside its input.
      words: the templates of the layer in the notation, each with the fields that it sets: `<field>` stands for a
        number; `[…]` is left out if its field has the default value.
      options: the same for options, which follow the word after a colon; any other field is written `:field=value`.
      open: whether options of any other name are accepted as fields.
      of_images: whether the layer computes arrays from the training images (`fixed`); it can only be the first.
      zero_channels: whether further channels, whose inputs and parameters are zero, stay zero, as do their derivatives,
        and change no others, so that a wider layer contains this one (`union`).
    """

    kind: ClassVar[str]
    context: ClassVar[tuple[str, ...]] = ()
    words: ClassVar[Spellings] = {}
    options: ClassVar[Spellings] = {}
    open: ClassVar[bool] = False
    of_images: ClassVar[bool] = False
    zero_channels: ClassVar[bool] = False

    def __repr__(self) -> str:
        """The layer in the notation, or `Name(…)` if the notation cannot express it."""
        try:
            return self.text()
        except RequestError:
            return f"{type(self).__name__}(…)"

    @classmethod
    def make(cls, **fields: Any) -> "Layer":
        """The layer with the fields given in the notation."""
        return cls(**fields)

    def described(self) -> dict[str, Any]:
        """The fields written in the notation: the inverse of `make`."""
        return {name: getattr(self, name) for name in self.fields()}

    def text(self) -> str:
        """The layer in the notation. Raises RequestError for a field that the notation cannot express."""
        return spelling.write(self)

    @classmethod
    def spellings(cls) -> Spellings:
        """The words of the notation that stand for this layer."""
        return cls.words

    @classmethod
    def fields(cls) -> dict[str, dataclasses.Field]:
        """The layer's own fields by name, without those of Flax."""
        return {field.name: field for field in dataclasses.fields(cls) if field.name not in ("parent", "name")}

    def output_shape(self, shape: Shape) -> Shape:
        """The output shape for an input of `shape`. Raises RequestError with the arithmetic if it does not fit."""
        return traced(self, shape)[0].shape[1:]

    def windows(self, shape: Shape) -> Windows | None:
        """The windows along height and width through which an output position sees the input; None without windows."""
        return None

    def parameters(self, shape: Shape) -> int:
        """Number of trained parameters, without running statistics."""
        return sum(leaf.size for leaf in jax.tree.leaves(traced(self, shape)[1].get("params", {})))

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of a convolution or dense layer for one example, without biases and elementwise operations."""
        return 0

    @nn.nowrap
    def branches(self) -> tuple[tuple["Layer", ...], ...]:
        """The layers inside a block, branch by branch."""
        return ()

    @nn.nowrap
    def fixed(self, images: Array) -> dict[str, Array]:
        """For a layer `of_images`: the arrays that it computes from normalised training images (n, h, w, c)."""
        raise NotImplementedError

    @nn.nowrap
    def union(self, other: "Layer") -> "Layer | None":
        """The wider of two layers that differ in nothing but `features`; None if it does not contain the other."""
        if type(self) is not type(other) or not (self.zero_channels and other.zero_channels):
            return None
        wider = max(self, other, key=lambda layer: getattr(layer, "features", 0))
        widths = {"features": wider.features} if hasattr(wider, "features") else {}
        return wider if all(dataclasses.replace(layer, **widths) == wider for layer in (self, other)) else None


@functools.lru_cache(maxsize=4096)
def traced(layer: Layer, shape: Shape) -> tuple[jax.ShapeDtypeStruct, Any]:
    """Shapes and dtypes of the output and variables of a layer, by tracing: for layers that do not compute them by
    arithmetic. Turns any exception of the layer into a RequestError."""
    image = jax.ShapeDtypeStruct((1, *shape), "float32")
    try:
        return jax.eval_shape(lambda x: layer.init_with_output(jax.random.key(0), x), image)
    except RequestError:
        raise
    except Exception as error:  # of any type: the code is not ours
        raise RequestError(f"it cannot be applied to an input of {shape}: {reason(error)}") from error


class Fixed(Layer):
    """A layer without parameters."""

    def parameters(self, shape: Shape) -> int:
        return 0


LAYERS: Registry[type[Layer]] = Registry("layer")
L = TypeVar("L", bound=type[Layer])


def refuse_taken(name: str, own: Registry[Any]) -> None:
    """Raises RequestError if the notation already uses this name for something outside the registry `own`."""
    for layer in LAYERS.values():
        if name not in own and name in layer.spellings():
            raise RequestError(f"{own.kind} {quote(name)}: the notation has this word for another part")


def register_described(name: str) -> Callable[[L], L]:
    """Registers a subclass of `Layer`. Without `kind` and `words`, the class is written as `name` in the notation."""

    def add(layer: L) -> L:
        refuse_taken(name, LAYERS)
        if not hasattr(layer, "kind"):
            layer.kind = name
        if layer.kind == name and not layer.words:
            layer.words = {name: {}}
        layer.registered_as = name  # type: ignore[attr-defined]
        LAYERS.add(name, layer)
        return layer

    return add


def spatial(shape: Shape) -> tuple[int, int, int]:
    """`shape` as (height, width, channels). Raises RequestError if an earlier layer has flattened it."""
    if len(shape) != 3:
        raise RequestError(f"its input {shape} has no height and width: it must come before a dense layer or `gap`")
    return shape


def full_windows(shape: Shape) -> Windows:
    """Windows that cover an input of `shape` entirely."""
    height, width, _ = spatial(shape)
    return Window.along(height, height, 1, "valid"), Window.along(width, width, 1, "valid")


class Sliding(Layer):
    """Base of convolutions and pools: a square window, the same along height and width."""

    def windows(self, shape: Shape) -> Windows:
        height, width, _ = spatial(shape)
        return self._window(height), self._window(width)

    def parameters(self, shape: Shape) -> int:
        return 0

    def _window(self, length: int) -> Window:
        raise NotImplementedError

    def _output_size(self, shape: Shape) -> tuple[int, int]:
        rows, columns = self.windows(shape)
        return rows.output, columns.output


def with_feedback(
    product: Callable[[Array, Array], Array], x: Array, kernel: Array, feedback_key: Array | None
) -> Array:
    """`product(x, kernel)`. With a key, the derivative with respect to `x` uses fixed random weights instead of the
    kernel (feedback alignment: lillicrap2016random); the value and the derivative of the kernel stay the same."""
    if feedback_key is None:
        return product(x, kernel)
    feedback = product(x, lax.stop_gradient(he(feedback_key, kernel.shape).astype(kernel.dtype)))
    return product(lax.stop_gradient(x), kernel) + (feedback - lax.stop_gradient(feedback))
