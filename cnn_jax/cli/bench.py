"""cnn-jax bench: speed beside other frameworks, by the scripts of a clone."""

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import cnn_jax
from cnn_jax.errors import RequestError, quote

SCRIPTS = Path(cnn_jax.__file__).resolve().parent.parent / "scripts"


def command(arguments: Sequence[str]) -> int:
    """`cnn-jax bench NAME …` runs scripts/bench_NAME.py."""
    names = sorted(path.stem.removeprefix("bench_") for path in SCRIPTS.glob("bench_*.py"))
    if not names:
        raise RequestError("the benchmarks are part of a clone of the repository, not of the installed package")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: cnn-jax bench {{{','.join(names)}}} …")
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in names:
        raise RequestError(f"benchmark {quote(name)} is unknown; there are {', '.join(names)}")
    sys.argv = [str(SCRIPTS / f"bench_{name}.py"), *rest]
    sys.path.insert(0, str(SCRIPTS))
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0
