"""What is said when memory does not suffice, and that a GPU is shared."""

import os

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_jax import api, runtime
from cnn_jax.errors import RunError
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.runs import trainer
from cnn_jax.runs.folder import Folder
from cnn_jax.training import fit
from cnn_jax.training.config import Config
from cnn_jax.training.memory import largest_batch, step_bytes

NETWORK = Network((8, 8, 1), parse("conv3-4 relu max2 dense-10"))
CONFIG = Config(network="conv3-4 relu max2 dense-10", epochs=1, batch_size=256, devices=2)


@settings(deadline=None)
@given(st.integers(0, 2**34), st.sampled_from([1, 2, 8]))
def test_the_largest_batch_fits_and_its_double_does_not(free, devices):
    each = largest_batch(NETWORK, devices, free) // devices
    assert each == 0 or step_bytes(NETWORK, each) <= free
    assert step_bytes(NETWORK, 2 * each or 1) > free


def exhausted(*_):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")


@pytest.mark.parametrize(
    ("free", "words"),
    [
        (step_bytes(NETWORK, 32), ": by estimate --batch-size 64 fits, or the same batch in parts with --accumulate 4"),
        (10, ": try a smaller --batch-size, or --accumulate"),
        (2**40, ": try a smaller --batch-size, or --accumulate"),
    ],
)
def test_one_line_says_what_would_fit(tmp_path, monkeypatch, free, words):
    monkeypatch.setattr(trainer, "free_bytes", lambda: free)
    monkeypatch.setattr(fit, "train_steps", exhausted)
    line = f"out of memory with a batch of 256 for {NETWORK.parameters} parameters{words}"
    with pytest.raises(RunError) as raised:
        api.train(CONFIG, tmp_path / "run", show=False)
    assert str(raised.value) == line
    assert Folder(tmp_path / "run").read_json("result.json")["reason"] == line


@pytest.mark.parametrize("own", [{}, {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5"}])
def test_a_command_leaves_the_rest_of_a_gpu_to_others(monkeypatch, own):
    for name in list(os.environ):
        if name.startswith("XLA_PYTHON_CLIENT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "")  # so that what `tune` sets is undone
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE")
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(runtime.platform, "libc_ver", lambda: ("", ""))  # leaves malloc to other tests as it is
    runtime.tune()
    assert os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE") == (None if own else "false")
