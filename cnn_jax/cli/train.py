"""experiments/train.py: one network, trained."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnn_jax.cli import common
from cnn_jax.training.config import DEFAULT_NETWORK, Config
from cnn_jax.untrusted import parse_json


@dataclass(frozen=True)
class TrainArguments(Config):
    """The fields of a config, and where the run goes."""

    network: str = DEFAULT_NETWORK
    """A network in the notation, the name of one in the zoo, or its JSON form."""
    config: str | None = None
    """A config.json to start from; options given beside it change it."""
    out: str | None = None
    """The run's folder (default: runs/train-<UTC time>-<hash>)."""
    resume: bool = False
    """Go on with the run in --out; without other options its own config is used."""
    profile: bool = False
    """Write a JAX trace of ten steps into the run's folder."""

    def __post_init__(self):
        """Nothing is checked here: the config that is made of this is."""


def fields_of(arguments: Any) -> dict[str, Any]:
    """The fields of a config among those of parsed arguments; on a command line a network in JSON is text."""
    values = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Config)}
    if values["network"].startswith("["):
        values["network"] = parse_json(values["network"], "--network")
    return values


def defaults_of(stored: Config) -> dict[str, Any]:
    """The fields of a config as the defaults of a command line: the inverse of `fields_of`."""
    values = {field.name: getattr(stored, field.name) for field in dataclasses.fields(Config)}
    if not isinstance(values["network"], str):
        values["network"] = json.dumps(values["network"])
    return values


def command(arguments: Sequence[str]) -> int:
    """Parses, trains, says what came out; returns the exit code."""
    stored = Config.from_json(common.stored_config(arguments) or {})
    default = TrainArguments(**defaults_of(stored))
    parsed = common.parse(TrainArguments, arguments, default, "Trains one network.")
    config = Config(**fields_of(parsed))
    out = parsed.out or common.default_out("train", config.hash())

    from cnn_jax import lab
    from cnn_jax.report.run import sentence

    run = lab.train(config, out, resume=parsed.resume, profile=parsed.profile)
    print(sentence(run.result))
    print(run.path)
    sys.stdout.flush()
    return common.exit_code(run.status, run.signal)
