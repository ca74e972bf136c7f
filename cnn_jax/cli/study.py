"""cnn-jax study: runs an experiment that answers a question; also the command line of such scripts."""

import argparse
import json
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cnn_jax import compilations
from cnn_jax.cli import common
from cnn_jax.cli.archives import restart_from_cache
from cnn_jax.errors import RequestError, quote


class Parser(argparse.ArgumentParser):
    """argparse with errors as RequestError in one line."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message} ({self.format_usage().strip()})")


def command(arguments: Sequence[str]) -> int:
    """`cnn-jax study FILE …` runs the experiment in a file, which calls `main` with its question and rule."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            "usage: cnn-jax study FILE [--quick] [--seeds N] [--data-dir DIR] [--out FOLDER]\n"
            "       [--quiet]\n\n"
            "Runs the experiment in FILE, e.g. experiments/guide/pixels.py; FILE --help says what it asks."
        )
        return 0 if arguments else 2
    if not Path(arguments[0]).is_file():
        raise RequestError(f"{quote(arguments[0])} is not an experiment file, e.g. experiments/guide/pixels.py")
    sys.argv = list(arguments)
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


def main(
    question: Any,
    investigate: Callable[[Any], Any],
    description: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
) -> None:
    """Parses the arguments of the process, investigates, prints the verdict and exits."""

    def command(arguments: Sequence[str]) -> int:
        compilations.enable()
        from cnn_jax import study

        parser = Parser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        parser.add_argument("--data-dir", help="folder of archives; needed only until they are cached")
        parser.add_argument("--dataset", help=f"data set to use instead of {question.dataset}")
        parser.add_argument("--seeds", type=int, help=f"number of seeds (default {question.seeds})")
        parser.add_argument(
            "--out", type=Path,
            help="the folder to write (default: runs/guide/<claim>); networks shared by experiments go beside it",
        )  # fmt: skip
        parser.add_argument(
            "--quick", action="store_true", help="a few digits, one epoch, two seeds: a short trial run"
        )
        parser.add_argument("--plugin", action="append", help="a file or module with registered parts; repeatable")
        parser.add_argument("--trust-plugins", action="store_true", help="load the copies of plugins in run folders")
        parser.add_argument("--quiet", action="store_true", help="no progress, only the verdict and warnings")
        common_options = set(vars(parser.parse_known_args([])[0]))
        add_arguments(parser)
        parsed = parser.parse_args(arguments)
        if parsed.quick and parsed.dataset:
            raise RequestError("--quick has its own few digits: leave out --dataset")
        if parsed.seeds is not None and parsed.seeds < 1:
            raise RequestError(f"--seeds {parsed.seeds} must be at least 1")
        if not parsed.quick:
            restart_from_cache([parsed.dataset or question.dataset], parsed.data_dir)
        own = {name: value for name, value in vars(parsed).items() if name not in common_options and value is not None}
        default = Path("runs") / ("guide-quick" if parsed.quick else "guide") / question.claim
        seeds = tuple(range(parsed.seeds)) if parsed.seeds else ()
        experiment = study.Study(
            question, parsed.out or default, parsed.data_dir, parsed.dataset, seeds, parsed.quick, not parsed.quiet, own
        )
        verdict = study.run(experiment, investigate)
        print(study.sentence(verdict) + (" (quick: counts for nothing)" if parsed.quick else ""))
        print(json.dumps(verdict.finding.more), file=sys.stderr)
        print(experiment.out)
        return 0

    common.main(command)
