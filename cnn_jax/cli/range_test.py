"""cnn-jax range: finds a learning rate for a config by a range test."""

import dataclasses
import functools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from cnn_jax import compilations
from cnn_jax.cli import common, options
from cnn_jax.training.config import Config
from cnn_jax.waiting import waiting


@dataclass(frozen=True)
class Test(common.Common):
    """The range test."""

    config: str | None = None
    """A config.json, or the folder of a run, to start from; other options override it."""
    steps: int = 100
    """Number of steps, over which the learning rate rises from 1e-5 to 10."""


@functools.cache
def arguments_type() -> type:
    """Test and the groups of config fields."""
    fields = [("test", Test), *options.groups(()).items()]
    kind = dataclasses.make_dataclass("Range", fields, frozen=True)
    kind.__doc__ = (
        "Trains one network for some steps while the learning rate rises, and recommends a learning rate.\n\n"
        "For example: cnn-jax range --dataset photos/ --image-size 32"
    )
    return kind


def command(arguments: Sequence[str]) -> int:
    base = Config.from_json(common.stored_config(arguments, best=True) or {})
    default = arguments_type()(test=Test(), **options.arguments_of(base))
    parsed = common.parse(arguments_type(), arguments, "cnn-jax range", default)
    config = Config(**options.fields_of(parsed))

    compilations.enable()
    from cnn_jax.api.range_test import range_test

    with waiting(f"trying learning rates on {config.dataset}", show=not parsed.test.quiet):
        result = range_test(config, parsed.test.steps)
    for i in range(0, len(result.rates), max(1, len(result.rates) // 20)):
        print(f"learning rate {result.rates[i]:8.2g}   loss {result.losses[i]:8.4f}")
    if result.recommended is None:
        print("no learning rate lowered the loss: look at the network, the data and the loss")
        return 1
    pairs = zip(["", *arguments], arguments, strict=False)
    rest = [argument for before, argument in pairs if before != "--steps" and not argument.startswith("--steps")]
    print(f"recommended: cnn-jax train {shlex.join(rest)} --learning-rate {result.recommended:g}")
    return 0
