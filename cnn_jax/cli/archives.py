"""`--data-dir` for experiments that leave evidence: archives are cached first, so that their path is not recorded."""

import os
import sys
from collections.abc import Iterable, Sequence

from cnn_jax.data import load
from cnn_jax.data.catalogue import CATALOGUE


def restart_from_cache(names: Iterable[str], data_dir: str | None) -> None:
    """Caches the data sets and restarts this program without `--data-dir`, so that no record contains a local path.

    Does nothing without `data_dir`, or if a data set is not built in: only those are found in the cache by name. Raises
    DataError for missing or damaged archives.
    """
    names = list(names)
    if data_dir is None or not all(name in CATALOGUE for name in names):
        return
    for name in names:
        load(name, data_dir=data_dir)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *without_option(sys.orig_argv[1:], "--data-dir")])


def without_option(arguments: Sequence[str], option: str) -> list[str]:
    """Removes an option and its value, `--option VALUE` or `--option=VALUE`, from arguments."""
    rest, skip = [], False
    for argument in arguments:
        if not (skip or argument == option or argument.startswith(f"{option}=")):
            rest.append(argument)
        skip = argument == option
    return rest
