"""Rules for any function: its operations are found by tracing it, and a rule stands for the ReLUs and other activations
and for the products with weights among them, as it does for the layers of a network (`rules`).

A convolution or a matrix product together with the bias that is added to it is one layer. Whatever else the function
does keeps its derivative, if the rule allows it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from cnn_jax.errors import RequestError
from cnn_jax.insight.functions import Function
from cnn_jax.layers import Activation, Conv, Dense, Layer

# The names under which JAX's activations are traced. Rules treat all but the ReLU alike.
RELU = Activation("relu")
ACTIVATIONS = {"relu": RELU} | dict.fromkeys(
    ("tanh", "logistic", "sigmoid", "elu", "selu", "celu", "leaky_relu", "silu", "swish", "softplus", "relu6"),
    Activation("tanh"),
)
PRODUCTS: dict[str, Layer] = {"conv_general_dilated": Conv(1, 1), "dot_general": Dense(1)}
SHAPES = ("reshape", "squeeze", "transpose", "broadcast_in_dim")
# Linear in what comes from the image, if nothing else that enters does.
LINEAR = (
    *PRODUCTS, *SHAPES, "mul", "div", "neg", "pad", "rev", "slice", "dynamic_slice", "gather", "reduce_sum",
    "reduce_window_sum", "cumsum", "select_n", "convert_element_type", "copy", "stop_gradient", "optimization_barrier",
)  # fmt: skip
OF_ALL = ("add", "add_any", "sub", "concatenate", "split", "reduce_window_max", "reduce_max", "max")  # of several, too
CALLS = ("jit", "custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint", "closed_call")


@dataclass(frozen=True)
class Operation:
    """What a rule sees in place of a node."""

    name: str
    layer: Layer


@dataclass(frozen=True)
class Traced:
    """A function in which `rule` stands for every activation and every product with weights. Values are those of the
    function, the derivative is that of the rule. Raises RequestError for a loop or a branch, in which no rule can stand
    for anything, and, under a rule that is `strict`, for an operation that it does not know."""

    function: Function
    rule: Any

    def __call__(self, params: Any, images: Array) -> Array:
        closed = jax.make_jaxpr(self.function)(params, images)
        leaves = jax.tree.leaves(params)
        (output,) = self.run(closed, [*leaves, images], [False] * len(leaves) + [True])
        return output

    def run(self, closed: ClosedJaxpr, inputs: Sequence[Any], of_image: Sequence[bool]) -> list[Any]:
        """Computes traced operations again, one by one; `of_image` says which inputs depend on the image."""
        jaxpr = closed.jaxpr
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *inputs), strict=True))
        moving = {v for v, moves in zip(jaxpr.invars, of_image, strict=True) if moves}
        for equation in jaxpr.eqns:
            if moving.intersection(_variables(equation)):
                moving.update(equation.outvars)
        layers = _layers(jaxpr, moving)
        inside = {at for chain in layers for at in chain[:-1]}
        ends = {chain[-1]: chain for chain in layers}

        def value(atom: Any) -> Any:
            return atom.val if isinstance(atom, Literal) else values[atom]

        for i, equation in enumerate(jaxpr.eqns):
            if i in inside:  # computed at the end of its layer
                continue
            if i in ends:
                found = [self.layer([jaxpr.eqns[at] for at in ends[i]], moving, value)]
            else:
                given = [value(atom) for atom in equation.invars]
                found = self.operation(equation, given, [_moves(atom, moving) for atom in equation.invars])
            values.update(zip(equation.outvars, found, strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def layer(self, chain: Sequence[Any], moving: set, value: Callable[[Any], Any]) -> Array:
        """The output of a product with weights, at the end of whose chain its bias may be added."""
        product, *rest = chain
        at = [_moves(atom, moving) for atom in product.invars].index(True)
        variables = {"kernel": value(product.invars[1 - at])}
        if rest:
            (bias,) = (atom for atom in rest[-1].invars if not _moves(atom, moving))
            variables["bias"] = value(bias)

        def apply(variables: Any, x: Array) -> Array:
            kernel = variables["params"]["kernel"]
            (y,) = _bind(product, [x, kernel] if at == 0 else [kernel, x])
            for reshaping in rest[:-1]:
                (y,) = _bind(reshaping, [y])
            return y + variables["params"]["bias"] if rest else y

        name = product.primitive.name
        return self.rule(Operation(name, PRODUCTS[name]), apply, {"params": variables}, value(product.invars[at]))

    def operation(self, equation: Any, given: list[Any], moves: list[bool]) -> list[Any]:
        """The outputs of anything else."""
        name, params = equation.primitive.name, equation.params
        called = params.get("name") if name in CALLS else name
        if name == "max" and any(isinstance(atom, Literal) and atom.val == 0 for atom in equation.invars):
            called = "relu"
        if not any(moves):
            return _bind(equation, given)
        if called in ACTIVATIONS:
            at = moves.index(True)

            def activation(_: Any, x: Array) -> Array:
                return _bind(equation, [*given[:at], x, *given[at + 1 :]])[0]

            return [self.rule(Operation(called, ACTIVATIONS[called]), activation, {"params": {}}, given[at])]
        if name in CALLS:
            inner = params.get("jaxpr", params.get("call_jaxpr"))
            return self.run(inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ()), given, moves)
        if any(isinstance(part, ClosedJaxpr | Jaxpr) for part in jax.tree.leaves(list(params.values()))):
            raise RequestError(f"{name}: no rule can stand for what is in a loop or a branch")
        strict = getattr(self.rule, "strict", None)
        if strict and name not in OF_ALL and (name not in LINEAR or sum(moves) > 1):
            raise RequestError(f"{strict} has no rule for {name}")
        return _bind(equation, given)


def _variables(equation: Any) -> list[Any]:
    return [atom for atom in equation.invars if not isinstance(atom, Literal)]


def _moves(atom: Any, moving: set) -> bool:
    return not isinstance(atom, Literal) and atom in moving


def _bind(equation: Any, given: Sequence[Any]) -> list[Any]:
    """The outputs of an operation for other inputs."""
    found = equation.primitive.bind(*given, **equation.primitive.get_bind_params(equation.params))
    return list(found) if equation.primitive.multiple_results else [found]


def _layers(jaxpr: Any, moving: set) -> list[list[int]]:
    """The numbers of the operations of each product with weights: the product, what reshapes its output, and the
    addition of a bias; the product alone if that does not follow."""
    users: dict[Any, list[int]] = {}
    for i, equation in enumerate(jaxpr.eqns):
        for variable in _variables(equation):
            users.setdefault(variable, []).append(i)
    layers = []
    for i, equation in enumerate(jaxpr.eqns):
        if equation.primitive.name not in PRODUCTS or sum(_moves(atom, moving) for atom in equation.invars) != 1:
            continue
        chain = [i]
        while True:
            (out,) = jaxpr.eqns[chain[-1]].outvars
            if len(users.get(out, ())) != 1 or out in jaxpr.outvars:
                break
            chain += users[out]
            user = jaxpr.eqns[chain[-1]]
            if user.primitive.name == "add" and sum(_moves(atom, moving) for atom in user.invars) == 1:
                layers.append(chain)
                break
            if user.primitive.name not in SHAPES:
                break
        if not layers or layers[-1][0] != i:
            layers.append([i])
    return layers
