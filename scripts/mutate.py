#!/usr/bin/env python3
"""Mutation testing: which small faults do the tests detect? Scores by module.

    scripts/run scripts/mutate.py cnn_jax/statistics/order.py cnn_jax/losses.py --tests tests/statistics tests/test_losses.py --keep

Every mutant differs from a module by one operator, constant, comparison or statement. It replaces the module when the
tests import it. Only the tests that execute the changed line are run, fastest first, until one fails. A mutant that
takes too long counts as killed. tests/equivalent_mutants.toml lists mutants that no test can distinguish from the
original, with the reason; they are not counted. Processes started by a test run the original.

Killed mutants are remembered in --memory by the module's content, so that the same command resumes after an
interruption, and tries only the survivors once tests are added. --keep writes the scores to results/mutation.json and
the table of all kept scores to docs/testing.md. Forking for each mutant saves the imports: about 0.5 s per mutant on an
idle core, for tests that take no longer.
"""  # noqa: E501

import argparse
import ast
import contextlib
import gc
import hashlib
import importlib
import importlib.machinery
import json
import math
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.toml"
SCORES = ROOT / "results" / "mutation.json"
PAGE = ROOT / "docs" / "testing.md"
BEGIN, END = "<!-- mutation scores -->\n\n", "\n\n<!-- end of mutation scores -->"
PATIENCE = 30.0  # allowed wall seconds per allowed CPU second of a process
OPERATORS: dict[Any, Any] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}
NAMES |= {
    "minimum": "maximum",
    "maximum": "minimum",
    "argmin": "argmax",
    "argmax": "argmin",
    "sin": "cos",
    "cos": "sin",
}


@dataclass(frozen=True)
class Mutant:
    """A changed module: the line, the change, and the full source."""

    line: int
    change: str  # "function: statement -> statement", also its key in EQUIVALENT
    source: str
    at_import: bool  # its line runs on import, so any test may detect it


def variants(node: ast.AST) -> Iterator[Callable[[], None]]:
    """Yields a function for each mutation of this node, which applies it in place."""

    def change(name: str, value: Any) -> Callable[[], None]:
        return lambda: setattr(node, name, value)

    match node:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield change("op", OPERATORS[type(op)]())
        case ast.Compare(ops=ops):
            for i, comparison in enumerate(ops):
                yield change("ops", [*ops[:i], OPERATORS[type(comparison)](), *ops[i + 1 :]])
        case ast.UnaryOp(op=ast.USub() | ast.Not()):
            twice = ast.UnaryOp(ast.Not(), node.operand)
            yield change("op", ast.UAdd()) if isinstance(node.op, ast.USub) else change("operand", twice)
        case ast.IfExp(body=body, orelse=orelse):
            yield lambda: (change("body", orelse)(), change("orelse", body)())[0]
        case ast.Constant(value=bool(value)):
            yield change("value", not value)
        case ast.Constant(value=int(value) | float(value)):
            yield change("value", value + 1)
        case ast.Constant(value=str(value)):
            yield change("value", value + "?")
        case ast.Name(id=name) if name in NAMES:
            yield change("id", NAMES[name])
        case ast.Attribute(attr=name) if name in NAMES:
            yield change("attr", NAMES[name])
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield change("value", ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield change("value", ast.Constant(None))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _worth_it(node: ast.AST, parents: Sequence[tuple[ast.AST, str]]) -> bool:
    """False for docstrings, annotations, decorators, error messages, and the list of public names."""
    for parent, field in parents:
        if field in ("annotation", "returns", "decorator_list") or isinstance(parent, ast.Raise):
            return False
        if isinstance(parent, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in parent.targets):
            return False
    return not (isinstance(node, ast.Constant) and parents and isinstance(parents[-1][0], ast.Expr))


def _walk(
    node: ast.AST, parents: tuple[tuple[ast.AST, str], ...] = ()
) -> Iterator[tuple[ast.AST, tuple[tuple[ast.AST, str], ...]]]:
    yield node, parents
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, (*parents, (node, field)))


def _statement(node: ast.AST) -> str:
    """A statement in one line; the first line of a compound statement."""
    lines = ast.unparse(ast.fix_missing_locations(node)).splitlines()
    return next(line for line in lines if not line.startswith("@")) if hasattr(node, "body") else " ".join(lines)


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its syntax tree."""
    result = []
    positions = [(i, j) for i, (node, parents) in enumerate(_walk(ast.parse(source))) if _worth_it(node, parents)
             for j, _ in enumerate(variants(node))]  # fmt: skip
    for i, j in positions:
        tree = ast.parse(source)
        node, parents = list(_walk(tree))[i]
        chain = [parent for parent, _ in parents] + [node]
        statement = [part for part in chain if isinstance(part, ast.stmt)][-1]
        scope = [part.name for part in chain if isinstance(part, ast.FunctionDef | ast.ClassDef)]
        inside = any(isinstance(parent, ast.FunctionDef | ast.Lambda) and field == "body" for parent, field in parents)
        before = _statement(statement)
        list(variants(node))[j]()
        after = _statement(statement)
        change = f"{'.'.join(scope)}: {before} -> {after}"
        line = getattr(node, "lineno", statement.lineno)
        result.append(Mutant(line, change, ast.unparse(ast.fix_missing_locations(tree)), not inside))
    return result


def put_in_place(path: Path, source: str) -> None:
    """Makes imports of the module at `path` use `source`, through any import hook, and never cached bytecode."""
    loader = importlib.machinery.SourceFileLoader
    get_data, path_stats = loader.get_data, loader.path_stats

    def data(self: Any, name: str) -> bytes:
        return source.encode() if Path(name) == path else get_data(self, name)

    def stats(self: Any, name: str) -> Any:
        if Path(name) == path:
            raise OSError("no bytecode of a mutant")
        return path_stats(self, name)

    loader.get_data, loader.path_stats = data, stats  # type: ignore[method-assign,assignment]


def dotted(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _packages(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _initializing(module: Any) -> bool:
    return getattr(getattr(module, "__spec__", None), "_initializing", False)


def preload(names: Sequence[str], path: Path) -> None:
    """Imports the modules that do not depend on the module at `path`, once for all its mutants."""
    tests = {file.stem for file in (ROOT / "tests").rglob("*.py")}
    for name in (*names, "hypothesis.strategies"):  # imported by its plugin when a test fails
        if name not in tests and name != "__main__":
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    assert dotted(path) not in sys.modules
    gc.freeze()


class Coverage:
    """A pytest plugin that records the lines of a file that each test runs, its CPU seconds, and the modules imported
    before the file, which cannot depend on it."""

    def __init__(self, path: Path):
        self.path = str(path)
        self.lines: dict[str, set[int]] = {}
        self.seconds: dict[str, float] = {}
        self.current: set[int] = set()
        self.started = 0.0
        self.before: list[str] = []
        sys.addaudithook(self.audit)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import" and arguments[0] == dotted(Path(self.path)) and not self.before:
            loaded = {name for name, module in sys.modules.items() if not _initializing(module)}
            self.before = [name for name in sys.modules if {name, *_packages(name)} <= loaded]

    def trace(self, frame: Any, event: str, _: Any) -> Any:
        return self.line if frame.f_code.co_filename == self.path else None

    def line(self, frame: Any, event: str, _: Any) -> Any:
        self.current.add(frame.f_lineno)
        return self.line

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.started = time.process_time()
        self.current = self.lines.setdefault(nodeid, set())
        sys.settrace(self.trace)
        threading.settrace(self.trace)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = time.process_time() - self.started
        if report.skipped:
            self.lines.pop(report.nodeid, None)

    def write(self, file: Path) -> None:
        sys.settrace(None)
        tests = {name: {"lines": sorted(lines), "seconds": self.seconds[name]} for name, lines in self.lines.items()}
        file.write_text(json.dumps({"tests": tests, "before": self.before}))


def fork(work: Callable[[], int], limit: float) -> int | None:
    """Returns the exit code of `work` in a forked process of its own group, or None if it used more than `limit` CPU
    seconds or waited very long. CPU time is used so that other load on the machine does not make a mutant look slow."""
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 5))
        code = 70
        try:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            code = work()
        finally:
            os._exit(code)
    end = time.monotonic() + PATIENCE * limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGXCPU else code
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def pytest_main(tests: Sequence[str], *plugins: object) -> int:
    import pytest

    options = ["-x", "-q", "-n", "0", "--no-header", "--tb=no", "--assert=plain"]
    for plugin in ("cacheprovider", "unraisableexception", "threadexception"):  # they collect garbage: 0.5 s
        options += ["-p", f"no:{plugin}"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # about preloaded plugins
    return int(pytest.main([*options, *tests], plugins=list(plugins)))


def baseline(path: Path, tests: Sequence[str]) -> dict[str, Any]:
    """Runs the tests, which must pass, and preloads modules. Returns lines and seconds of each test."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "coverage.json"

        def work() -> int:
            coverage = Coverage(path)
            code = pytest_main(tests, coverage)
            coverage.write(file)
            return code

        if code := fork(work, 3600.0):
            raise RuntimeError(f"the tests do not pass without a mutant (pytest's exit code {code})")
        result = json.loads(file.read_text())
    preload(result["before"], path)
    original = Mutant(0, "", path.read_text(), at_import=True)
    if try_mutant(path, original, result["tests"], 60.0) != "survived":
        raise RuntimeError("the tests do not pass in a fork, or not one after another by their seconds")
    return result["tests"]


def try_mutant(path: Path, mutant: Mutant, coverage: dict[str, Any], limit: float) -> str:
    run = [name for name, test in coverage.items() if mutant.at_import or mutant.line in test["lines"]]
    tests = sorted(run or coverage, key=lambda name: coverage[name]["seconds"])  # if no test runs the line, all tests
    seconds = sum(coverage[name]["seconds"] for name in tests)

    def work() -> int:
        put_in_place(path, mutant.source)
        return pytest_main(tests)

    code = fork(work, limit + 3.0 * seconds)
    return "timeout" if code is None else "killed" if code else "survived" if run else "not run"


def score(path: Path, tests: Sequence[str], memory: Path, limit: float) -> dict[str, Any]:
    """Tries the mutants of a module, prints each survivor, and returns the module's table row."""
    name = str(path.relative_to(ROOT))
    reasons = tomllib.loads(EQUIVALENT.read_text()).get(name, {}) if EQUIVALENT.exists() else {}
    source = path.read_text()
    digest = hashlib.sha256(source.encode()).hexdigest()
    records = [json.loads(line) for line in memory.read_text().splitlines()] if memory.exists() else []
    killed = {record["change"]: record["outcome"] for record in records if record["digest"] == digest}
    coverage = baseline(path, tests)
    outcomes: list[str] = []
    for i, mutant in enumerate(all_mutants := mutants(source), 1):
        if mutant.change in reasons:
            outcomes.append("equivalent")
            continue
        outcome = killed.get(mutant.change) or try_mutant(path, mutant, coverage, limit)
        outcomes.append(outcome)
        if outcome in ("killed", "timeout") and mutant.change not in killed:
            with memory.open("a") as file:
                line = {"digest": digest, "module": name, "line": mutant.line, "change": mutant.change}
                file.write(json.dumps(line | {"outcome": outcome}) + "\n")
        if outcome in ("survived", "not run"):
            print(f"{name}:{mutant.line}: {outcome} ({i}/{len(all_mutants)}): {mutant.change}", flush=True)
    unused = set(reasons) - {mutant.change for mutant in all_mutants}
    for change in unused:
        print(f"{EQUIVALENT.relative_to(ROOT)} lists a mutant that {name} does not have: {change}")
    counts = {kind: outcomes.count(kind) for kind in ("killed", "timeout", "survived", "not run", "equivalent")}
    tried = len(outcomes) - counts["equivalent"]
    return {"module": name, "mutants": len(outcomes), **counts,
            "score": f"{(counts['killed'] + counts['timeout']) / max(tried, 1):.1%}"}  # fmt: skip


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The table in Markdown."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[name]) for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def keep(rows: Sequence[dict[str, Any]], tests: Sequence[str]) -> None:
    """Adds rows to SCORES, each with the sha256 of its module and the tests, and writes the table of SCORES to PAGE."""
    scores = json.loads(SCORES.read_text()) if SCORES.exists() else {}
    for row in rows:
        digest = hashlib.sha256((ROOT / row["module"]).read_bytes()).hexdigest()
        scores[row["module"]] = {**row, "sha256": digest, "tests": list(tests)}
    SCORES.write_text(json.dumps(dict(sorted(scores.items())), indent=1) + "\n")
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(before + BEGIN + kept_table() + END + after)


def kept_table() -> str:
    """The table of SCORES, as shown in PAGE."""
    rows = json.loads(SCORES.read_text()).values()
    return table([{name: row[name] for name in row if name not in ("sha256", "tests")} for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+", type=Path)
    parser.add_argument("--tests", nargs="+", required=True, help="test files or folders")
    parser.add_argument("--memory", type=Path, default=Path(tempfile.gettempdir()) / "cnn_jax_mutants.jsonl")
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        help="CPU seconds per mutant, in addition to three times those of its tests",
    )
    parser.add_argument("--keep", action="store_true", help="write the scores to results/ and docs/")
    arguments = parser.parse_args()
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")  # as in tests/conftest.py; read when JAX is imported
    warnings.filterwarnings("ignore", message=".*fork")
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(ROOT))
    modules = [path.resolve() for path in arguments.modules]
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:  # a new process per module
        tasks = [(path, arguments.tests, arguments.memory, arguments.seconds) for path in modules]
        try:
            rows = pool.starmap(score, tasks, chunksize=1)
        except RuntimeError as error:
            raise SystemExit(str(error)) from None
    print(table(rows))
    if arguments.keep:
        keep(rows, arguments.tests)


if __name__ == "__main__":
    main()
