"""The native operations under the address and undefined-behaviour sanitizers."""

import subprocess
import sys

import pytest
from commands import ROOT, environment

from cnn_jax.ops.native import library

SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1"
TESTS = ("tests/ops/test_implementations.py", "tests/ops/test_norm.py")


@pytest.mark.slow
@pytest.mark.skipif(not library.available(), reason="no compiler")
def test_no_undefined_behaviour_and_no_access_out_of_bounds(tmp_path):
    """The tests of every implementation, native alone, with a library that checks itself."""
    runtimes = [
        subprocess.run([library.find_compiler(), f"-print-file-name=lib{name}.so"], capture_output=True, text=True)
        for name in ("asan", "ubsan", "stdc++")
    ]
    more = {
        "CNN_JAX_CACHE": str(tmp_path),
        "CNN_JAX_CXXFLAGS": SANITIZERS,
        "LD_PRELOAD": ":".join(found.stdout.strip() for found in runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own are many
        "JAX_NUM_CPU_DEVICES": "8",
    }
    words = [
        "-m",
        "pytest",
        "-n",
        "0",
        "-v",
        *TESTS,
        "-k",
        "native or alone or trial or plain_jax",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment(**more), capture_output=True, text=True, timeout=3000
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "ERROR: AddressSanitizer" not in done.stderr
    assert "passed" in done.stdout, done.stdout[-3000:]
    assert "skipped" not in done.stdout, done.stdout[-3000:]
