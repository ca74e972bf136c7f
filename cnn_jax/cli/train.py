"""cnn-jax train: trains one network."""

import dataclasses
import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from cnn_jax import compilations
from cnn_jax.cli import common, options
from cnn_jax.training.config import Config


@dataclass(frozen=True, kw_only=True)
class Run(common.Common):
    """The folder of the run, and what to log."""

    config: str | None = None
    """A config.json, or the folder of a run, to start from; other options override it."""
    out: str | None = None
    """The run's folder (default: runs/train-<UTC time>-<hash>)."""
    resume: bool = False
    """Continue the run in --out (or start it, if there is none) with its own config; only --epochs MORE may differ."""
    profile: bool = False
    """Write a JAX trace of ten steps into the run's folder."""
    log: tuple[str, ...] = ()
    """Additional loggers: json, tensorboard, or a registered one; may be repeated."""


@functools.cache
def arguments_type() -> type:
    """Run and the groups of config fields."""
    fields = [("run", Run), *options.groups(()).items()]
    kind = dataclasses.make_dataclass("Train", fields, frozen=True)
    kind.__doc__ = "Trains one network.\n\nFor example: cnn-jax train --network lenet5 --dataset mnist --data-dir DIR"
    return kind


def command(arguments: Sequence[str]) -> int:
    """Parses arguments, trains, prints the result; returns the exit code."""
    base = Config.from_json(common.stored_config(arguments, best=True) or {})
    default = arguments_type()(run=Run(), **options.arguments_of(base))
    parsed = common.parse(arguments_type(), arguments, "cnn-jax train", default)
    config = Config(**options.fields_of(parsed))
    run_options = parsed.run
    out = run_options.out or common.default_out("train", config.hash())

    compilations.enable()
    import jax

    from cnn_jax import api
    from cnn_jax.report.loggers import loggers
    from cnn_jax.report.run import sentence

    first = jax.process_index() == 0
    run = api.train(
        config,
        out,
        resume=run_options.resume,
        profile=run_options.profile,
        show=not run_options.quiet,
        callbacks=loggers(run_options.log) if first else (),
    )
    if first:
        print(sentence(run.result))
        print(run.path)
        sys.stdout.flush()
    return common.exit_code(run.status, run.signal)
