"""The native library: built once, found again, never stale or damaged; nothing breaks where it cannot be built."""

import os
import shutil
from pathlib import Path

import pytest
from commands import finish, start
from needs import required

from cnn_jax.ops.native import library


def test_there_is_a_compiler_where_there_must_be_one():
    assert library.available() or not required("compiler")


pytestmark = pytest.mark.skipif(not library.available(), reason="no compiler")

SAY = "from cnn_jax import ops; print(ops.resolve())"
BUILD = "from cnn_jax.ops.native import library; print(library.build())"


QUICKLY = {"CNN_JAX_CXXFLAGS": "-O0"}


@pytest.fixture(scope="module")
def two_builds(tmp_path_factory):
    """A cache where two processes at once wanted the library, and how they ended: (exit code, output, error)."""
    cache = tmp_path_factory.mktemp("two-builds")
    processes = [start("-c", BUILD, CNN_JAX_CACHE=str(cache), **QUICKLY) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    return cache, [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


@pytest.mark.slow
def test_two_processes_at_once_build_it_once(two_builds):
    cache, ends = two_builds
    assert [code for code, *_ in ends] == [0, 0], ends
    assert ends[0][1] == ends[1][1]
    assert sum("building the native operations" in err for *_, err in ends) == 1
    assert not [path for path in (cache / "native").iterdir() if path.name.startswith("building-")]


@pytest.mark.slow
def test_a_damaged_library_is_built_again(two_builds, tmp_path):
    cache, ((_, out, _), _) = two_builds
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    environment = {"CNN_JAX_CACHE": str(tmp_path), **QUICKLY}
    file = tmp_path / Path(out.strip()).relative_to(cache)
    code, again, err = finish("-c", BUILD, **environment)
    assert (code, again.strip(), err) == (0, str(file), "")
    file.write_bytes(file.read_bytes()[:-100])
    code, again, err = finish("-c", SAY, **environment)
    assert (code, again) == (0, "native\n"), err
    assert "building the native operations" in err


def test_without_a_compiler_one_line_and_the_pure_jax_operations(tmp_path):
    nothing = tmp_path / "bin"
    nothing.mkdir()
    code, out, err = finish("-c", SAY, CNN_JAX_CACHE=str(tmp_path), PATH=str(nothing), CXX="")
    assert (code, out) == (0, "canonical\n")
    assert err == ("cnn_jax: no native operations (there is no C++ compiler on PATH); the pure JAX ones are used\n")


def test_a_compiler_that_fails_is_no_failure_of_the_run(tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'c++: error: out of order' >&2\nexit 1\n")
    compiler.chmod(0o755)
    code, out, err = finish("-c", SAY, CNN_JAX_CACHE=str(tmp_path / "cache"), CXX=str(compiler))
    assert (code, out) == (0, "canonical\n")
    assert "out of order" in err


def test_a_requested_but_unavailable_implementation_is_refused_in_one_line(tmp_path):
    code, _, err = finish(
        "experiments/train.py", "--implementation", "native", "--epochs", "1", "--out", tmp_path / "run",
        CNN_JAX_CACHE=str(tmp_path), PATH=os.devnull, CXX="",
    )  # fmt: skip
    assert code == 2
    assert err.splitlines()[-1] == "error: the native operations are unavailable: there is no C++ compiler on PATH"
    assert not (tmp_path / "run").exists()
    code, _, err = finish("-c", "from cnn_jax import ops; ops.resolve()", CNN_JAX_OPS="fast")
    assert "CNN_JAX_OPS = 'fast' is unknown; there are auto, lax, canonical, native" in err


def test_the_key_follows_sources_compiler_and_processor(monkeypatch, tmp_path):
    compiler = library.find_compiler()
    before = library.key(compiler)
    assert library.key(compiler) == before
    monkeypatch.setattr(library, "processor", lambda: "another")
    assert library.key(compiler) != before
    monkeypatch.undo()
    monkeypatch.setattr(library, "FLAGS", (*library.FLAGS, "-O2"))
    assert library.key(compiler) != before
    monkeypatch.undo()
    shutil.copytree(library.HERE, tmp_path / "native")
    monkeypatch.setattr(library, "HERE", tmp_path / "native")
    assert library.key(compiler) == before
    with open(tmp_path / "native" / "tile.h", "a") as file:
        file.write("// another\n")
    assert library.key(compiler) != before


OUT_OF_MEMORY = """
import resource
from pathlib import Path
import jax, jax.numpy as jnp
from cnn_jax import ops
from cnn_jax.ops import Window

def limited(function, *arguments):
    compiled = jax.jit(function).lower(*arguments).compile()
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (16 << 20), before[1]))
    try:
        print(compiled(*arguments).shape)
    except jax.errors.JaxRuntimeError as error:
        print(str(error).splitlines()[0])
    resource.setrlimit(resource.RLIMIT_AS, before)
    print(compiled(*arguments).shape)

ops.resolve("native")
rows, columns = Window(4096, 1, 64, 1, 0, 0), Window(1, 2, 8192, 1, 8191, 0)  # frames of 128 MiB, in every thread
limited(lambda x, k: ops.convolution(x, k, rows, columns), jnp.ones((5, 4096, 1, 1)), jnp.ones((1, 2, 1, 1)))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no limit of a process's memory as on Linux")
def test_a_thread_without_memory_is_an_error_of_jax_and_the_process_lives():
    code, out, err = finish("-c", OUT_OF_MEMORY, NPROC="2")
    assert code == 0, err
    assert out.splitlines() == ["RESOURCE_EXHAUSTED: cnn_jax: out of memory in a native operation", "(5, 64, 1, 1)"]
