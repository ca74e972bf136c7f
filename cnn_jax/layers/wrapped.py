"""User-defined modules as layers: Flax Linen, Flax NNX, or a pair of pure functions."""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import flax.linen as nn
import jax
from jax import Array

from cnn_jax.errors import RequestError
from cnn_jax.layers.base import Layer, Shape, Spellings, refuse_taken, register_described, traced
from cnn_jax.registry import Registry

MODULES: Registry[Callable[..., Any]] = Registry("module")
MODULES.seal()
M = TypeVar("M")


def register_layer(name: str) -> Callable[[M], M]:
    """Registers a subclass of `Layer` or a user-defined module: a Linen class, an NNX class, a pair (init, apply), or a
    function that returns a Linen module or a pair, see `Wrapped`. In the notation it is called `name`, and its fields
    or arguments are options: `name:width=16`."""

    def add(thing: M) -> M:
        if isinstance(thing, type) and issubclass(thing, Layer):
            register_described(name)(thing)
            return thing
        return register_module(name)(thing)

    return add


def register_module(name: str) -> Callable[[M], M]:
    """Registers a module: a Linen class, an NNX class, a pair (init, apply), or a function that returns a Linen module
    or a pair. Its arguments are options in the notation: `name:width=16`."""

    def add(thing: M) -> M:
        refuse_taken(name, MODULES)
        MODULES.add(name, thing if callable(thing) else lambda: thing)
        return thing

    return add


@register_described("Wrapped")
class Wrapped(Layer):
    """A registered module with its arguments.

    The module is called with the images and with whichever of these keyword arguments its signature has: `train` (or
    `training`, `is_training`; `deterministic` and `use_running_average` are the opposite), `mask` (float32 [n], 0 for
    padding) and, for a pair, `key` (for dropout). Batch statistics are kept if they are in the collection `batch_stats`
    (Linen) or of the type `BatchStat` (NNX).

    A pair is `init(key, input_shape) -> params` and `apply(params, images, …) -> output`; params can be any pytree.
    """

    kind: str  # type: ignore[misc]
    arguments: tuple[tuple[str, Any], ...] = ()

    context = ("train", "mask", "dropout_key")
    open = True

    @classmethod
    def make(cls, **fields: Any) -> "Wrapped":
        kind = fields.pop("kind")
        return cls(kind, tuple(sorted(fields.items())))

    def described(self) -> dict[str, Any]:
        return {"kind": self.kind, **dict(self.arguments)}

    @classmethod
    def spellings(cls) -> Spellings:
        return {name: {"kind": name} for name in MODULES}

    @nn.compact
    def __call__(
        self, x: Array, *, train: bool = False, mask: Array | None = None, dropout_key: Array | None = None
    ) -> Array:
        make, arguments = MODULES[self.kind], dict(self.arguments)
        if _is_nnx(make):
            return self._call_nnx(make, arguments, x, train, mask, dropout_key)
        module = make(**arguments)
        if isinstance(module, nn.Module):
            return module(x, **_accepted(type(module).__call__, train, mask))
        init, apply = module
        params = self.param("module", lambda key: init(key, x.shape[1:]))
        return apply(params, x, **_accepted(apply, train, mask, dropout_key))

    def _call_nnx(
        self, make: Any, arguments: dict[str, Any], x: Array, train: bool, mask: Any, dropout_key: Any
    ) -> Array:
        from flax import nnx

        def fresh(key: Array, drop: Array) -> Any:
            return make(**arguments, rngs=nnx.Rngs(params=key, default=drop))

        def state_of(module: Any, kind: type) -> Any:
            return nnx.to_pure_dict(nnx.state(module, kind))

        key = jax.random.key(0)  # only for shapes: the values drawn with it are replaced
        module = fresh(key, key if dropout_key is None else dropout_key)
        params = self.param("module", lambda key: state_of(fresh(key, key), nnx.Param))
        stats = self.variable("batch_stats", "module", lambda: state_of(module, nnx.BatchStat))
        for kind, values in ((nnx.Param, params), (nnx.BatchStat, stats.value)):
            state = nnx.state(module, kind)
            nnx.replace_by_pure_dict(state, values)
            nnx.update(module, state)
        module.set_attributes(deterministic=not train, use_running_average=not train, raise_if_not_found=False)
        y = module(x, **_accepted(make.__call__, train, mask))
        if not self.is_initializing():
            stats.value = state_of(module, nnx.BatchStat)
        return y

    def keeps_statistics(self, shape: Shape) -> bool:
        """Whether the module has batch statistics, for an input of `shape`."""
        return bool(jax.tree.leaves(traced(self, shape)[1].get("batch_stats", {})))

    @property
    def takes_mask(self) -> bool:
        """Whether the module takes a mask of which examples are padding."""
        target = MODULES[self.kind]
        if not isinstance(target, type):
            module = target(**dict(self.arguments))
            target = module[1] if isinstance(module, tuple) else type(module)
        return "mask" in inspect.signature(target.__call__ if isinstance(target, type) else target).parameters


def _accepted(function: Callable[..., Any], train: bool, mask: Any, key: Any = None) -> dict[str, Any]:
    """The keyword arguments of those we offer that `function` has parameters for."""
    offered: Mapping[str, Any] = {
        "train": train, "training": train, "is_training": train, "deterministic": not train,
        "use_running_average": not train, "mask": mask, "key": key,
    }  # fmt: skip
    return {name: offered[name] for name in inspect.signature(function).parameters if name in offered}


def is_module(thing: Any) -> bool:
    """Whether `thing` is a module class or a pair (init, apply)."""
    return isinstance(thing, tuple) or (isinstance(thing, type) and issubclass(thing, nn.Module)) or _is_nnx(thing)


def _is_nnx(thing: Any) -> bool:
    """Whether `thing` is an NNX class. Does not import NNX, which takes a quarter of a second, if nobody has."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(thing, type) and issubclass(thing, nnx.Module)


def wrap(module: Any) -> Wrapped:
    """`module` as a layer: a Linen module, an NNX class or a pair (init, apply).

    Its class is registered under its own name (a pair under the module name of `apply`), so that a config can refer to
    it; the folder of a run keeps its source.
    """
    thing: Any
    if isinstance(module, nn.Module):
        fields = {field: getattr(module, field) for field in type(module).__dataclass_fields__}
        own = {field: value for field, value in fields.items() if field not in ("parent", "name")}  # not Flax's
        defaults = {name: field.default for name, field in type(module).__dataclass_fields__.items()}
        thing, name = type(module), type(module).__name__
        arguments = tuple((field, value) for field, value in own.items() if value != defaults[field])
    elif isinstance(module, type) and is_module(module):
        thing, name, arguments = module, module.__name__, ()
    elif isinstance(module, tuple) and len(module) == 2 and all(map(callable, module)):
        thing, name, arguments = module, module[1].__module__.rpartition(".")[2], ()
    else:
        raise RequestError(
            f"{type(module).__name__} cannot be wrapped: give a Linen module, an NNX class, or a pair (init, apply)"
        )
    register_module(name)(thing)
    return Wrapped(name, tuple(sorted(arguments)))
