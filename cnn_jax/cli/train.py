"""experiments/train.py: one network, trained."""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnn_jax.cli import common
from cnn_jax.training.config import Config


@dataclass(frozen=True)
class TrainArguments(Config):
    """The fields of a config, and where the run goes."""

    config: str | None = None
    """A config.json to start from; options given beside it change it."""
    out: str | None = None
    """The run's folder (default: runs/train-<UTC time>-<hash>)."""
    resume: bool = False
    """Go on with the run in --out; without other options its own config is used."""
    profile: bool = False
    """Write a JAX trace of ten steps into the run's folder."""


def config_of(arguments: Any) -> Config:
    """The config among the fields of parsed arguments."""
    return Config(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Config)})


def command(arguments: Sequence[str]) -> int:
    """Parses, trains, says what came out; returns the exit code."""
    stored = Config.from_json(common.stored_config(arguments) or {})
    default = TrainArguments(**{field.name: getattr(stored, field.name) for field in dataclasses.fields(Config)})
    parsed = common.parse(TrainArguments, arguments, default, "Trains one network; see docs/usage.md.")
    config = config_of(parsed)
    out = parsed.out or common.default_out("train", config.hash())

    from cnn_jax import lab
    from cnn_jax.report.run import sentence

    run = lab.train(config, out, resume=parsed.resume, profile=parsed.profile)
    print(sentence(run.result))
    print(run.path)
    sys.stdout.flush()
    return common.exit_code(run.status, run.signal)
