"""What the command lines share: parsing with tyro, errors as one line, exit codes."""

import contextlib
import dataclasses
import datetime
import errno
import io
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cnn_jax import runtime
from cnn_jax.errors import CnnJaxError, RequestError

T = TypeVar("T")


def main(command: Callable[[Sequence[str]], int]) -> None:
    """Runs a command on the arguments of the process and exits: 0 complete, 1 failed or diverged, 2 a wrong request or
    unreadable data, 130 and 143 interrupted."""
    runtime.tune()
    try:
        runtime.join_processes()
        sys.exit(command(sys.argv[1:]))
    except CnnJaxError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EMFILE):
            raise
        print(f"error: {error.filename or 'writing'}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def parse(kind: type[T], arguments: Sequence[str], default: T, description: str) -> T:
    """`arguments` as a dataclass. RequestError with one line for what the parser refuses."""
    try:
        import tyro
    except ImportError:
        return _parse_bare(arguments, default)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                kind,
                args=list(arguments),
                default=default,
                description=description,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise RequestError(_one_line(complaint.getvalue())) from None


def _parse_bare(arguments: Sequence[str], default: T) -> T:
    """Where tyro is missing: the config comes from a file (`default`), and only these options are known."""
    words = iter(arguments)
    given: dict[str, Any] = {}
    for word in words:
        if word == "--resume":
            given["resume"] = True
        elif word in ("--config", "--out"):
            given[word[2:]] = next(words, None)
        else:
            raise RequestError(
                f"{word} cannot be read, since tyro is not installed: give --config FILE --out FOLDER [--resume], "
                "or install cnn_jax[cli]"
            )
    return dataclasses.replace(default, **given)  # type: ignore[type-var]


def _one_line(box: str) -> str:
    """The parser's box of text as one line, without its frame."""
    words = [line.strip("╭╮╰╯│─ \t") for line in box.splitlines()]
    return " ".join(word for word in words if word)


def option(arguments: Sequence[str], name: str) -> str | None:
    """The value of --name in `arguments`, before they are parsed."""
    for i, argument in enumerate(arguments):
        if argument == f"--{name}" and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith(f"--{name}="):
            return argument.partition("=")[2]
    return None


def stored_config(arguments: Sequence[str]) -> dict[str, Any] | None:
    """What arguments start from instead of the defaults: the file of --config, or with --resume that in --out."""
    path = option(arguments, "config")
    if "--resume" in arguments and option(arguments, "out") is None:
        raise RequestError("--resume needs the folder to go on with: --out FOLDER")
    if path is None and "--resume" in arguments and (out := option(arguments, "out")) is not None:
        inside = Path(out) / "config.json"
        path = str(inside) if inside.is_file() else None
    if path is None:
        return None
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RequestError(f"{path} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise RequestError(f"{path} is no config: it should be a JSON object of fields")
    return values


def default_out(verb: str, config_hash: str) -> Path:
    """runs/<verb>-<UTC time>-<hash of the config>."""
    now = datetime.datetime.now(datetime.UTC)
    return Path("runs") / f"{verb}-{now:%Y%m%dT%H%M%SZ}-{config_hash}"


def exit_code(status: str, signal_number: int | None) -> int:
    if status == "interrupted":
        return 128 + (signal_number or signal.SIGINT)
    return 0 if status == "complete" else 1
