"""Modules of other libraries as functions of (params, images), which every method of `insight` explains.

Images are the module's input, (n, height, width, channels). Only what is given is imported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from cnn_jax.insight.functions import Function, WithActivations


@dataclass(frozen=True)
class _Linen:
    """The outputs of a Linen module's submodules by name, `Conv_0` or `Block_0/Conv_1`, and of the module itself."""

    module: Any

    def __call__(self, variables: Any, images: Array, shifts: Mapping[str, Array]) -> dict[str, Array]:
        import flax.linen as nn

        outputs: dict[str, Array] = {}

        def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
            output = call(*args, **kwargs)
            if context.method_name == "__call__" and isinstance(output, jax.Array):
                name = "/".join(context.module.path) or "output"
                while name in outputs:  # a module that is called again
                    name += "'"
                output = output + shifts[name] if name in shifts else output
                outputs[name] = output
            return output

        with nn.intercept_methods(intercept):
            self.module.apply(variables, images)
        return outputs


def linen(module: Any) -> WithActivations:
    """A Flax Linen module, a function of its variables, with its submodules as named layers. Its `__call__` takes the
    images alone: give those of the module's own options that make it deterministic when it is created."""
    return WithActivations(_Linen(module))


def nnx(model: Any) -> tuple[Function, Any]:
    """A Flax NNX model, as the function and its state."""
    from flax import nnx

    graph, state = nnx.split(model)
    return _Merged(lambda params, images: nnx.merge(graph, params)(images)), state


def equinox(model: Any) -> tuple[Function, Any]:
    """An Equinox model of one image (channels, height, width), as the function and its arrays."""
    import equinox

    params, rest = equinox.partition(model, equinox.is_array)
    return _Merged(lambda params, images: jax.vmap(equinox.combine(params, rest))(images.transpose(0, 3, 1, 2))), params


def keras(model: Any) -> tuple[Function, Any]:
    """A built Keras 3 model on the JAX backend, as the function and its variables."""
    params = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
    return _Merged(lambda params, images: model.stateless_call(*params, images, training=False)[0]), params


@dataclass(frozen=True, eq=False)
class _Merged:
    """A function that is compiled for by its identity."""

    function: Function

    def __call__(self, params: Any, images: Array) -> Array:
        return self.function(params, images)
