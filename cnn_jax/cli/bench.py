"""cnn-jax bench: compares the speed with other frameworks, by the benchmarks in a clone of the repository."""

import sys
from collections.abc import Sequence
from pathlib import Path

import cnn_jax
from cnn_jax.errors import RequestError

SCRIPTS = Path(cnn_jax.__file__).resolve().parent.parent / "scripts"


def command(arguments: Sequence[str]) -> int:
    """`cnn-jax bench NAME …`: see scripts/bench/main.py."""
    if not (SCRIPTS / "bench").is_dir():
        raise RequestError("the benchmarks are part of a clone of the repository, not of the installed package")
    sys.path.insert(0, str(SCRIPTS))
    from bench import main

    return main.command(arguments)
