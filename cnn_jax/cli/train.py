"""cnn-jax train: one network, trained."""

import dataclasses
import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from cnn_jax.cli import common, options
from cnn_jax.training.config import Config


@dataclass(frozen=True, kw_only=True)
class Run(common.Common):
    """Where the run goes."""

    config: str | None = None
    """A config.json, or the folder of a run, to start from; options given beside it change it."""
    out: str | None = None
    """The run's folder (default: runs/train-<UTC time>-<hash>)."""
    resume: bool = False
    """Go on with the run in --out; without other options its own config is used, and --epochs MORE extends it."""
    profile: bool = False
    """Write a JAX trace of ten steps into the run's folder."""
    log: tuple[str, ...] = ()
    """Loggers beside the progress: json, tensorboard, or a registered one; may be repeated."""


@functools.cache
def arguments_type() -> type:
    """Run and the groups of a config's fields."""
    fields = [("run", Run), *options.groups(()).items()]
    kind = dataclasses.make_dataclass("Train", fields, frozen=True)
    kind.__doc__ = "Trains one network.\n\nFor example: cnn-jax train --network lenet5 --dataset mnist --data-dir DIR"
    return kind


def command(arguments: Sequence[str]) -> int:
    """Parses, trains, says what came out; returns the exit code."""
    stored = Config.from_json(common.stored_config(arguments, best=True) or {})
    default = arguments_type()(run=Run(), **options.arguments_of(stored))
    parsed = common.parse(arguments_type(), arguments, "cnn-jax train", default)
    config = Config(**options.fields_of(parsed))
    run = parsed.run
    out = run.out or common.default_out("train", config.hash())

    from cnn_jax import api
    from cnn_jax.report.loggers import loggers
    from cnn_jax.report.run import sentence

    done = api.train(
        config, out, resume=run.resume, profile=run.profile, show=not run.quiet, callbacks=loggers(run.log)
    )
    print(sentence(done.result))
    print(done.path)
    sys.stdout.flush()
    return common.exit_code(done.status, done.signal)
