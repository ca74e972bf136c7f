"""Shared by all commands: parsing with tyro, plugins, errors as one line, exit codes."""

import contextlib
import datetime
import io
import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tyro.conf import UseAppendAction

from cnn_jax import plugins, runtime
from cnn_jax.errors import CnnJaxError, RequestError, quote, shortened
from cnn_jax.untrusted import read_json

T = TypeVar("T")


@dataclass(frozen=True)
class Common:
    """Options of every verb."""

    plugin: UseAppendAction[tuple[str, ...]] = ()
    """Files (FILE.py) or modules that register layers, losses, optimizers …; may be repeated."""
    trust_plugins: bool = False
    """Load the plugins of a run from the copies in its folder. This executes code by the author of that folder."""
    quiet: bool = False
    """Show no progress, only results and warnings."""


def main(command: Callable[[Sequence[str]], int | None]) -> None:
    """Runs a command on the arguments of the process and exits: 0 complete, 1 failed or diverged, 2 invalid request or
    unreadable data, 130 and 143 interrupted. All exceptions of commands end here."""
    runtime.tune()
    runtime.quieten_orbax()
    try:
        runtime.join_processes()
        arguments = _arguments()
        load_plugins(arguments)
        code = command(arguments)
        sys.stdout.flush()  # a closed pipe is noticed here, not when Python exits
    except BaseException as error:
        code = _end(error)
    runtime.leave_processes(code or 0)
    sys.exit(code)


def _arguments() -> list[str]:
    """The arguments of the process. Raises RequestError if they are not UTF-8, as records must be."""
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise RequestError(f"the argument {quote(argument)} is not UTF-8") from None
    return sys.argv[1:]


def _end(error: BaseException) -> int:
    """Prints one line about the exception and returns the exit code. Only bugs of the package print a traceback."""
    match error:
        case SystemExit():  # --help
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        case CnnJaxError():
            line, code = f"error: {error}", error.exit_code
        case KeyboardInterrupt():
            line, code = "interrupted", 128 + signal.SIGINT
        case BrokenPipeError():  # the reader of the output has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        case OSError():
            line, code = f"error: {shortened(str(error.filename or 'the system'))}: {error.strerror or error}", 1
        case MemoryError():
            line, code = f"error: out of memory {error}", 1
        case RecursionError():
            line, code = "error: nested too deeply for Python's stack", 1
        case RuntimeError() if "RESOURCE_EXHAUSTED" in str(error):
            line, code = f"error: the device is out of memory: {shortened(str(error))}", 1
        case _:
            traceback.print_exception(error)
            line, code = f"This {type(error).__name__} is a fault of cnn_jax: please report it with the lines above.", 1
    with contextlib.suppress(OSError):
        print(" ".join(line.split()), file=sys.stderr)
    return code


def parse(kind: type[T], arguments: Sequence[str], prog: str, default: T | None = None) -> T:
    """Parses arguments into a dataclass, starting from `default`. Raises RequestError for invalid arguments."""
    import tyro

    message = io.StringIO()
    options: dict[str, Any] = {} if default is None else {"default": default}
    conf = tyro.conf
    try:
        with contextlib.redirect_stderr(message):
            return tyro.cli(
                kind, args=merge_repeated(list(arguments)), prog=prog, **options,
                config=(conf.OmitArgPrefixes, conf.OmitSubcommandPrefixes, conf.FlagCreatePairsOff),
            )  # fmt: skip
    except SystemExit as stop:
        if not stop.code:
            raise
        raise RequestError(_one_line(message.getvalue())) from None


REPEATED = ("--axis", "--log")


def merge_repeated(arguments: list[str]) -> list[str]:
    """Merges the values of an option that is given several times, as the parser would use only the last one."""
    for option in REPEATED:
        rest: list[str] = []
        values: list[str] = []
        target = rest
        for argument in arguments:
            if argument.startswith("--"):
                target = values if argument.split("=")[0] == option else rest
                if target is values:
                    values += [argument.removeprefix(f"{option}=")] * ("=" in argument)
                    continue
            target.append(argument)
        arguments = [*rest, option, *values] if values else arguments
    return arguments


def _one_line(box: str) -> str:
    """The text of the parser's box as one line, without the frame."""
    words = [line.strip("╭╮╰╯│─ \t") for line in box.splitlines()]
    return " ".join(word for word in words if word)


def option(arguments: Sequence[str], name: str) -> str | None:
    """The value of --name in unparsed arguments, or None."""
    for i, argument in enumerate(arguments):
        if argument == f"--{name}" and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(f"--{name}="):
            return argument.partition("=")[2]
    return None


def load_plugins(arguments: Sequence[str]) -> None:
    """Loads the plugins of --plugin before options are parsed, as these may name registered parts."""
    plugins.trusted = "--trust-plugins" in arguments
    for argument, following in itertools.zip_longest(arguments, arguments[1:]):
        if argument == "--plugin" and following is not None:
            plugins.load(following)
        elif argument.startswith("--plugin="):
            plugins.load(argument.partition("=")[2])


def stored_config(arguments: Sequence[str], *, best: bool) -> dict[str, Any] | None:
    """The config that replaces the defaults: the file of --config, or config.json in that folder (of a sweep's best run
    if `best`), or with --resume the one in --out; else None. Raises RequestError if it is not a JSON object."""
    path = option(arguments, "config")
    if "--resume" in arguments and option(arguments, "out") is None:
        raise RequestError("--resume needs the folder to resume: --out FOLDER")
    if path is None and "--resume" in arguments and (out := option(arguments, "out")) is not None:
        inside = Path(out) / "config.json"
        path = str(inside) if os.path.isfile(inside) else None  # unlike Path.is_file, False for invalid paths
    if path is None:
        return None
    if os.path.isdir(path) or option(arguments, "config") is None:
        from cnn_jax.runs.folder import Folder

        inside = Path(path) / "best" / "config.json"
        if os.path.isdir(path):
            path = str(inside if best and os.path.isfile(inside) else Path(path) / "config.json")
        Folder.open(Path(path).parent)  # its config may name parts of its plugins
    values = read_json(path)
    if not isinstance(values, dict):
        raise RequestError(f"{path} is not a config: it should be a JSON object of fields")
    return values


def default_out(verb: str, config_hash: str) -> Path:
    """runs/<verb>-<UTC time>-<hash of the config>."""
    now = datetime.datetime.now(datetime.UTC)
    return Path("runs") / f"{verb}-{now:%Y%m%dT%H%M%SZ}-{config_hash}"


def exit_code(status: str, signal_number: int | None) -> int:
    if status == "interrupted":
        return 128 + (signal_number or signal.SIGINT)
    return 0 if status == "complete" else 1
