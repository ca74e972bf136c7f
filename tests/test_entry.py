"""The one place where a command's exceptions end: one line and an exit code by kind, in a real process."""

import os
import shutil
import subprocess
import sys

import pytest
from commands import ROOT, environment, finish

RAISE = """
import sys
sys.path.insert(0, {root!r})
from cnn_jax.cli import common
def deep(n=0): return deep(n + 1)
def command(arguments):
    {body}
common.main(command)
"""


pytestmark = pytest.mark.usefixtures("own_compilations")


def ended(body, *arguments, **more):
    return finish("-c", RAISE.format(root=str(ROOT), body=body), *arguments, **more)


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("raise __import__('cnn_jax.errors').errors.RequestError('a\\nb ' + 'x' * 60_000)", 2, "error: a b xxx"),
        ("open('/nowhere/' + 'x')", 1, "error: /nowhere/x: No such file or directory"),
        ("open('/tmp/' + 'n' * 300)", 1, "File name too long"),
        ("open('/tmp')", 1, "error: /tmp: Is a directory"),
        ("raise OSError(28, 'No space left on device', 'some/file')", 1, "error: some/file: No space left on device"),
        ("raise OSError('1024 requested and 0 written')", 1, "error: the system: 1024 requested and 0 written"),
        ("import numpy; numpy.zeros(1 << 58)", 1, "error: out of memory Unable to allocate"),
        ("deep()", 1, "error: nested too deeply"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        (
            "import jax; raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes')", 1,
            "error: the device is out of memory: RESOURCE_EXHAUSTED",
        ),
        ("import absl.logging; absl.logging.error('of a thread'); return 0", 0, ""),
        ("import logging; logging.warning('heard'); return 0", 0, "heard"),
        ("sys.exit(0)", 0, ""),
    ],
)  # fmt: skip
def test_each_kind_is_one_line(body, code, line):
    found, _, err = ended(body)
    assert found == code, err
    assert line in err
    assert len(err.splitlines()) == bool(line), err
    assert len(err) < 3000


def test_a_fault_of_the_program_keeps_its_traceback():
    code, _, err = ended("return {}['key']")
    assert code == 1
    assert "Traceback" in err
    assert "KeyError" in err
    assert err.splitlines()[-1].startswith("This KeyError is a fault of cnn_jax: please report it")


def test_a_closed_pipe_ends_quietly():
    """`cnn-jax describe … | head -1`: no traceback, and the code that a shell knows."""
    script = RAISE.format(root=str(ROOT), body="[print('x' * 1000) for _ in range(10_000)]")
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141


def test_an_argument_that_is_no_text_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "cnn_jax", "describe", b"conv3-\xff"], cwd=ROOT, env=environment(), capture_output=True
    )
    assert done.returncode == 2
    assert done.stderr == b"error: the argument 'conv3-\\udcff' is not UTF-8\n"


LIMITED = """
import resource, sys
sys.path.insert(0, {root!r})
from cnn_jax.cli import common, train
import cnn_jax.api  # what is imported and compiled needs no limit
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
common.main(train.command)
"""


@pytest.mark.parametrize("limit", [100, pytest.param(12_000, marks=pytest.mark.slow)])
def test_a_disk_that_takes_no_more_is_one_line(limit, tmp_path):
    """No file may grow beyond a limit: config.json, then the record, then a checkpoint (in Orbax's threads) is cut."""
    code, _, err = finish(
        "-c", LIMITED.format(root=str(ROOT), limit=limit), "--network", "conv3-8 relu dense-64 relu dense-10",
        "--epochs", "1", "--out", tmp_path / "run",
    )  # fmt: skip
    progress = ("epoch", "training:")
    lines = [line for line in err.splitlines() if not line.startswith(progress) and not line.endswith(" …")]
    assert code in (1, 2), err
    assert len(lines) == 1, err
    assert str(tmp_path) in lines[0]
    assert "File too large" in lines[0]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs to mount a file system")
@pytest.mark.parametrize("kilobytes", [48, pytest.param(96, marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line(kilobytes, tmp_path):
    """A real file system without room, at two moments of a run."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", disk]
    if subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        code, _, err = finish(
            "experiments/train.py", "--network", "conv3-8 relu dense-64 relu dense-10", "--epochs", "1", "--out",
            disk / "run",
        )  # fmt: skip
    finally:
        subprocess.run(["umount", disk], check=True)
    progress = ("epoch", "training:")
    lines = [line for line in err.splitlines() if not line.startswith(progress) and not line.endswith(" …")]
    assert code in (1, 2), err
    assert len(lines) == 1, err
    assert str(disk) in lines[0]
    assert "No space left on device" in lines[0]
