"""The command `cnn-jax`, also `python -m cnn_jax`: one module per verb, imported when called."""

import importlib
from collections.abc import Sequence

from cnn_jax.cli import common
from cnn_jax.errors import RequestError, quote

VERBS = {
    "train": "train one network",
    "sweep": "train a grid of networks and choose a cell",
    "range": "find a learning rate by a range test",
    "study": "answer a question with an experiment of the guide",
    "describe": "print shapes, receptive fields and counts of a network",
    "evaluate": "score a trained network on any split or data set",
    "predict": "print class probabilities of image files",
    "see": "inspect a trained network",
    "compare": "compare runs or sweeps seed by seed",
    "cite": "cite a finished run, sweep or study",
    "check": "check the numbers of a research note",
    "rerun": "train a finished run again and compare",
    "export": "write trained weights for other programs",
    "data": "list data sets, cache them",
    "ops": "show which implementation of an operation is used, and why",
    "bench": "compare the speed with other frameworks",
}
EXAMPLE = "cnn-jax train --network lenet5 --dataset mnist --data-dir DIR --epochs 5"


def run() -> None:
    """The console command."""
    common.main(command)


def command(arguments: Sequence[str]) -> int:
    """Runs a verb with its arguments and returns the exit code."""
    from cnn_jax import __version__

    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, VERBS))
        print("usage: cnn-jax VERB …\n\n" + "\n".join(f"  {verb:<{width}}  {line}" for verb, line in VERBS.items()))
        print(f"\nEach verb has its own --help. For example:\n  {EXAMPLE}")
        return 0 if arguments else 2
    verb, *rest = arguments
    if verb == "--version":
        print(f"cnn_jax {__version__}")
        return 0
    if verb not in VERBS:
        raise RequestError(f"verb {quote(verb)} is unknown; there are {', '.join(VERBS)}")
    module = importlib.import_module(f"cnn_jax.cli.{verb if verb != 'range' else 'range_test'}")
    return module.command(rest) or 0


if __name__ == "__main__":
    run()
