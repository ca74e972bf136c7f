"""cnn-jax study: runs, registers and replicates an experiment; also the command line of such scripts."""

import argparse
import ast
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

GUIDE = Path("experiments") / "guide"
USAGE = """usage: cnn-jax study NAME [--quick] [--seeds A:B] [--dataset NAME] [--data-dir DIR] [--out FOLDER] [--quiet]
       cnn-jax study register NAME
       cnn-jax study replicate NAME [--data-dir DIR]

Runs the experiment in a file, or in experiments/guide/NAME.py: with the registered seeds if it is registered
(docs/protocol.md), else its pilot. `register` writes what the verdict will rest on, from the pilot; `replicate`
repeats a registered verdict with fresh seeds. `cnn-jax study NAME --help` says what it asks.
"""


class Parser(argparse.ArgumentParser):
    """argparse with errors as RequestError in one line."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message} ({self.format_usage().strip()})")


def command(arguments: Sequence[str]) -> int:
    """Runs the experiment, whose file calls `main` with its question and rule."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    verb, rest = (arguments[0], arguments[1:]) if arguments[0] in ("register", "replicate") else (None, arguments)
    if not rest:
        raise RequestError(f"{verb} which experiment? e.g. cnn-jax study {verb} pooling")
    script = _script(rest[0])
    sys.argv = [str(script), *([f"--{verb}"] if verb else []), *rest[1:]]
    sys.path.insert(0, str(script.resolve().parent))
    runpy.run_path(str(script), run_name="__main__")
    return 0


def _script(name: str) -> Path:
    """The file of an experiment. Raises RequestError if there is none."""
    for path in (Path(name), GUIDE / f"{name}.py"):
        if path.is_file() and path.suffix == ".py":
            return path
    raise RequestError(f"{quote(name)} is no experiment: neither a file nor {GUIDE / name}.py")


def seeds(text: str) -> tuple[int, ...]:
    """`N`, the seeds 0 to N - 1, or `A:B`, the seeds A to B - 1. Raises RequestError for any other text."""
    first, colon, last = text.partition(":")
    try:
        low, high = (int(first), int(last)) if colon else (0, int(first))
    except ValueError:
        raise RequestError(f"--seeds {quote(text)} is neither a number nor A:B, e.g. 200:216") from None
    if not 0 <= low < high:
        raise RequestError(f"--seeds {quote(text)} has no seed")
    return tuple(range(low, high))


def main(
    question: Any,
    investigate: Callable[[Any], Any],
    description: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
) -> None:
    """Parses the arguments of the process, investigates on each data set, prints the verdicts and exits."""

    def command(arguments: Sequence[str]) -> int:
        compilations.enable()
        from cnn_jax import study
        from cnn_jax.study import blocks

        parser = Parser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--quick", action="store_true", help="a few digits, one epoch, two seeds: a short trial run")
        what.add_argument("--register", action="store_true", help="write the registration, from the pilots")
        what.add_argument("--replicate", action="store_true", help="repeat the registered verdict with fresh seeds")
        parser.add_argument("--seeds", help="own seeds, N or A:B, instead of the registered ones or the pilot's")
        parser.add_argument("--data-dir", help="folder of archives; needed only until they are cached")
        parser.add_argument(
            "--dataset", action="append", default=[], help=f"instead of {', '.join(question.datasets)}; repeatable"
        )
        parser.add_argument("--out", type=Path, help="the folder to write (default: runs/guide/<claim>)")
        parser.add_argument("--plugin", action="append", help="a file or module with registered parts; repeatable")
        parser.add_argument("--trust-plugins", action="store_true", help="load the copies of plugins in run folders")
        parser.add_argument("--quiet", action="store_true", help="no progress, only the verdict and warnings")
        common_options = set(vars(parser.parse_known_args([])[0]))
        add_arguments(parser)
        parsed = parser.parse_args(arguments)
        if parsed.quick and parsed.dataset:
            raise RequestError("--quick has its own few digits: leave out --dataset")
        script = Path(sys.argv[0])
        out = parsed.out or Path("runs") / ("guide-quick" if parsed.quick else "guide") / question.claim
        if parsed.register:
            return _register(script, question, getattr(investigate, "arms", {}), out)
        own = {name: value for name, value in vars(parsed).items() if name not in common_options and value is not None}
        asked = blocks.studies(
            script, question, out, datasets=parsed.dataset, block="replication" if parsed.replicate else None,
            seeds=seeds(parsed.seeds) if parsed.seeds else (), quick=parsed.quick,
            common={"data_dir": parsed.data_dir, "show": not parsed.quiet, "options": own},
        )  # fmt: skip
        if not parsed.quick:
            restart_from_cache([one.config().dataset for one in asked], parsed.data_dir)
        verdicts = [study.run(one, investigate) for one in asked]
        for one, verdict in zip(asked, verdicts, strict=True):
            standing = "quick: counts for nothing" if verdict.quick else verdict.standing
            print(f"{verdict.dataset}: {study.sentence(verdict)} ({standing})")
            if parsed.replicate:
                first = blocks.verdicts(out).get(verdict.dataset, {}).get("verdict")
                if first is not None:
                    print(f"{verdict.dataset}: before, {study.sentence(first)}; {blocks.agreement(first, verdict)}")
            print(json.dumps(verdict.finding.more), file=sys.stderr)
            print(one.out)
        if len(verdicts) > 1:
            print(f"{question.claim}: {blocks.combined({v.dataset: v.finding.answer for v in verdicts})}")
        return 0

    common.main(command)


def _register(script: Path, question: Any, arms: dict[str, Any], out: Path) -> int:
    """Writes the registration of an experiment whose pilots have ended."""
    from cnn_jax import study
    from cnn_jax.study import blocks

    pilots = [found["pilot"] for found in blocks.verdicts(out).values() if "pilot" in found]
    if not pilots:
        raise RequestError(f"{out} has no pilot: cnn-jax study {question.claim}")
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    registration = study.register(script, question, " ".join(text.partition("Expected: ")[2].split()), arms, pilots)
    for part in registration.data:
        bound = (
            ""
            if part.needed is not None and len(part.seeds) >= part.needed
            else f" ({part.needed or '> 10,000'} needed)"
        )
        print(
            f"{part.dataset}: {len(part.seeds)} seeds{bound}, {part.seeds[0]} to {part.seeds[-1]}; they find "
            f"{part.detectable:.2g} {registration.unit} with 80 % power"
        )
    print(f"{registration.path}: commit it, then cnn-jax study {question.claim}")
    return 0
