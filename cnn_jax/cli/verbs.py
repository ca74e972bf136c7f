"""The verbs of `python -m cnn_jax`, one module each with `add_arguments(parser)` and `run(arguments)`, which may return
an exit code."""

from collections.abc import Sequence

from cnn_jax.cli import check, cite, compare, describe, export, ops, predict, rerun, see
from cnn_jax.cli.common import Parser

VERBS = {
    "describe": describe, "predict": predict, "see": see, "export": export, "ops": ops, "cite": cite, "check": check,
    "compare": compare, "rerun": rerun,
}  # fmt: skip


def command(arguments: Sequence[str]) -> int:
    """Parses the verb and its arguments, runs it and returns the exit code."""
    parser = Parser(prog="python -m cnn_jax", description="Describe networks, use trained ones, cite results.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar=f"{{{','.join(VERBS)}}}")
    for name, module in VERBS.items():
        summary = (module.__doc__ or "").strip().splitlines()[0]
        module.add_arguments(verbs.add_parser(name, help=summary, description=summary))
    parsed = parser.parse_args(arguments)
    return VERBS[parsed.verb].run(parsed) or 0
