"""`--data-dir` of what leaves evidence: the archives are read into the cache, and their place is not recorded."""

import os
import sys
from collections.abc import Iterable, Sequence

from cnn_jax.data import load
from cnn_jax.data.catalogue import CATALOGUE


def restart_from_cache(names: Iterable[str], data_dir: str | None) -> None:
    """Where a `data_dir` is given, puts the data sets into the cache and starts this program anew without the option,
    so that neither the config nor the command in a record names a place of this machine. Only data sets of the
    catalogue are found again in the cache by their name; with others nothing is done. DataError for archives that are
    missing or damaged."""
    names = list(names)
    if data_dir is None or not all(name in CATALOGUE for name in names):
        return
    for name in names:
        load(name, data_dir=data_dir)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *without_option(sys.orig_argv[1:], "--data-dir")])


def without_option(arguments: Sequence[str], option: str) -> list[str]:
    """Arguments without an option and its value, `--option VALUE` or `--option=VALUE`."""
    kept, skip = [], False
    for argument in arguments:
        if not (skip or argument == option or argument.startswith(f"{option}=")):
            kept.append(argument)
        skip = argument == option
    return kept
