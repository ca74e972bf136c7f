"""The order of packages in docs/architecture.md holds, imports are light, a bare machine can train."""

import ast
import re
import sys
from pathlib import Path

import pytest
from commands import ROOT, finish

PACKAGE = ROOT / "cnn_jax"


def plan():
    """The lines of the list: packages that do not import each other."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    return [line.split() for line in re.search(r"```\n(errors waiting\n.*?)```", text, re.S)[1].splitlines()]


def package_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """The packages that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" if node.module == "cnn_jax" else node.module for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("cnn_jax."))


def test_every_package_is_listed_and_imports_only_from_lines_above():
    height = {package: level for level, packages in enumerate(plan()) for package in packages}
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        package = package_of(path)
        if package in ("__init__", "__main__"):
            continue
        assert package in height, f"{path} is in no package of docs/architecture.md"
        for other in imports(path):
            if other != package and other in height and height[other] >= height[package]:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert wrong == []
    assert all((PACKAGE / package).is_dir() or (PACKAGE / f"{package}.py").is_file() for package in height)


def users_of(module):
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == module for name in names):
                found.add(str(path.relative_to(PACKAGE)))
    return found


def test_what_only_one_place_may_know():
    assert users_of("orbax") == {"training/checkpoint.py"}
    assert users_of("flax") - {"insight/adapters.py"} == {
        f"layers/{name}.py"
        for name in (
            "activation",
            "base",
            "blocks",
            "core",
            "depthwise",
            "historic",
            "norm",
            "scaling",
            "whitening",
            "wrapped",
        )
    }
    assert users_of("tensorflow") == set()
    assert users_of("pickle") == {"report/saving.py"}  # between the processes of one command, never from a file
    assert all(name.startswith("data/") for name in users_of("tensorflow_datasets"))
    assert users_of("simplejpeg") == {"data/images.py"}


def test_files_tell_one_story():
    long = {p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 350}
    assert long == {}


MEASURE = """
import sys, time
import jax
before = time.perf_counter()
import cnn_jax.{module}
print(time.perf_counter() - before)
from jax._src import xla_bridge
print(xla_bridge.backends_are_initialized())
print([name for name in ('tensorflow_datasets', 'orbax', 'matplotlib', 'pandas') if name in sys.modules])
"""


@pytest.mark.parametrize("module", ["errors", "network", "geometry", "zoo", "data"])
def test_an_import_starts_no_backend_and_nothing_heavy(module):
    code, out, err = finish("-c", MEASURE.format(module=module))
    assert code == 0, err
    seconds, started, heavy = out.splitlines()
    assert float(seconds) < 3.0  # 0.2 to 0.3 s on a quiet machine, nearly all of it Flax; here others run beside it
    assert started == "False"
    assert heavy == "[]"


def test_importing_the_package_imports_next_to_nothing():
    code, out, _ = finish("-c", "import sys, cnn_jax; print(len([m for m in sys.modules if m.startswith('cnn_jax')]))")
    assert (code, out.strip()) == (0, "1")


BARE = """
import sys
for name in ('tensorflow_datasets', 'rich.progress', 'array_record'):
    sys.modules[name] = None
from cnn_jax.cli import common, {verb}
common.main({verb}.command)
"""


@pytest.mark.slow
def test_training_runs_where_tfds_and_rich_are_missing(tmp_path):
    """From a whole config, as on a machine that has an accelerator and little else. (Flax itself needs rich.)"""
    config = tmp_path / "config.json"
    config.write_text('{"epochs": 1, "network": "conv3-4 relu dense-10"}')
    code, _, err = finish("-c", BARE.format(verb="train"), "--config", config, "--out", tmp_path / "run")
    assert code == 0, err
    assert (tmp_path / "run" / "result.json").exists()


def test_the_locks_pin_every_version_with_hashes_and_name_no_registry():
    for name in ("cpu", "cuda", "tpu", "test"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        assert "http" not in text
        pins = re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==\S+", text, re.M)
        assert len(pins) > 30
        assert text.count("--hash=sha256:") >= len(pins)
        assert "tensorflow" not in pins
    assert sys.version_info >= (3, 11)


def test_the_citation_file_has_what_the_format_requires():
    text = (ROOT / "CITATION.cff").read_text()
    for field in ("cff-version: 1.2.0", "message:", "title:", "authors:", "license: Apache-2.0"):
        assert field in text
    assert Path(ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
