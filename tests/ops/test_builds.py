"""The tests of the native operations pass on other processors than this one, and under sanitizers; of arm64 the inner
loops, under emulation."""

import os
import platform
import shutil
import subprocess
import sys

import jax
import pytest
from commands import ROOT, environment, finish
from needs import required

from cnn_jax.ops.native import library

TESTS = (
    "tests/ops/test_implementations.py", "tests/ops/test_norm.py", "tests/ops/test_convolution.py",
    "tests/ops/test_generator.py",
)  # fmt: skip
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1"
# The instruction sets of native code and of XLA's: AVX2 as of Intel's Haswell and AMD's Zen, and what every x86-64 has.
PROCESSORS = {"avx2": ("-march=x86-64-v3", "AVX2"), "sse": ("-march=x86-64", "SSE4_2")}
VECTORS = "from cnn_jax.ops.native import library; print(library.vectors())"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (library.available() or required("compiler")), reason="no compiler"),
]


def run(*more, **variables):
    """pytest on the operations in a process of its own: nothing fails, nothing is skipped. What it printed."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-v", "-p", "no:cacheprovider", "--slow", *TESTS, *more]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(**{"JAX_NUM_CPU_DEVICES": "8", **variables}), capture_output=True, text=True,
        timeout=3000,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "passed" in done.stdout, done.stdout[-3000:]
    assert "skipped" not in done.stdout, done.stdout[-3000:]
    return done.stdout + done.stderr


@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64")
@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_test_holds_without_the_widest_vectors(processor, tmp_path):
    flags, isa = PROCESSORS[processor]
    xla = f"{os.environ['XLA_FLAGS']} --xla_cpu_max_isa={isa}"
    variables = {"CNN_JAX_CACHE": str(tmp_path), "CNN_JAX_CXXFLAGS": flags, "XLA_FLAGS": xla}
    run(*([] if processor == "avx2" else ["-k", "native or generator"]), **variables)
    assert finish("-c", VECTORS, **variables)[1] == f"{processor}\n"


def test_no_undefined_behaviour_and_no_access_out_of_bounds(tmp_path):
    """Of native code alone, with a library that checks itself."""
    runtimes = [
        subprocess.run([library.find_compiler(), f"-print-file-name=lib{name}.so"], capture_output=True, text=True)
        for name in ("asan", "ubsan", "stdc++")
    ]
    printed = run(
        "-k", "native or alone or trial or generator",
        CNN_JAX_CACHE=str(tmp_path),
        CNN_JAX_CXXFLAGS=SANITIZERS,
        LD_PRELOAD=":".join(found.stdout.strip() for found in runtimes),
        ASAN_OPTIONS="detect_leaks=0",  # Python's own are many
    )  # fmt: skip
    assert "ERROR: AddressSanitizer" not in printed


ARM = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")


@pytest.mark.skipif(None in ARM, reason="no g++ for aarch64, or no qemu-user")
def test_every_unit_compiles_for_arm64_and_the_inner_loops_give_the_sums_of_double_there(tmp_path):
    compiler, emulator = ARM
    program = tmp_path / "kernels"
    common = [compiler, "-std=c++17", "-Wno-psabi", "-isystem", jax.ffi.include_dir(), "-I", library.HERE]
    for unit in ("forward", "norm", "pooling", "random"):  # the others are in kernels.cc
        subprocess.run([*common, "-fsyntax-only", library.HERE / f"{unit}.cc"], check=True)
    subprocess.run([*common, "-O2", "-static", ROOT / "tests" / "ops" / "kernels.cc", "-o", program], check=True)
    done = subprocess.run([emulator, program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    vectors, compared = done.stdout.split()
    assert vectors == "neon"
    assert int(compared) > 200_000
