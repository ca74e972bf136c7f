"""One run over several processes takes the steps of one process and one device, and reads every example once."""

import random

import numpy as np
import pytest
from commands import ROOT, start
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.training import devices, epoch
from cnn_jax.training.config import Config
from cnn_jax.training.state import Program
from cnn_jax.training.step import batches

NETWORK = Network((8, 8, 1), parse("conv3-4 relu dense-10"))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 8),
    st.integers(1, 90),
    st.integers(1, 20),
    st.sampled_from(["", "mixup0.3"]),
    st.integers(1, 3),
)
def test_every_device_reads_its_own_examples(count, examples, batch_size, augment, chunk):
    """Each example is in one unmasked slot, and what a device has read is where its slots point, partners too."""
    program = Program.of(Config(augment=augment), NETWORK, count)
    whole = batches(np.random.default_rng(0).permutation(examples), batch_size, count)
    reads, local = epoch._divided(program, whole, chunk)
    seen = []
    for step, slot in zip(*np.nonzero(whole.mask), strict=True):
        start = step // chunk * chunk
        device = slot // (whole.mask.shape[1] // count)
        held = reads[device, start : start + chunk].ravel()
        assert held[local.positions[step, slot]] == whole.positions[step, slot]
        seen.append(held[local.positions[step, slot]])
        if augment:
            assert held[local.partner_positions[step, slot]] == whole.positions[step, whole.partners[step, slot]]
    assert sorted(seen) == list(range(examples))


def ten_steps(folder, processes, each, dtype, source):
    """The losses, the score and the parameters after ten steps, and what each process has read."""
    port = random.randrange(20000, 40000)
    many = {"JAX_NUM_CPU_DEVICES": str(each), "JAX_ENABLE_X64": str(dtype == "float64"), "PYTHONPATH": str(ROOT)}
    out = folder / f"{processes}x{each}"
    running = [
        start(
            "tests/training/ten_steps.py", out, dtype, source,
            **many, **({"CNN_JAX_PROCESSES": f"localhost:{port},{processes},{i}"} if processes > 1 else {}),
        )
        for i in range(processes)
    ]  # fmt: skip
    ends = [process.communicate(timeout=600)[1] for process in running]
    assert [process.returncode for process in running] == [0] * processes, ends
    found = [dict(np.load(f"{out}-{i}.npz")) for i in range(processes)]
    return {name: value for name, value in found[0].items() if not name.startswith("read")}, found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "source", "tolerance"),
    [("float32", "memory", 1e-5), ("float64", "stream", 1e-10)],
)
def test_two_processes_take_the_steps_of_one(tmp_path, dtype, source, tolerance):
    """2 processes x 2 devices, 1 x 4 and 1 x 1: augmentation, mixup and batch norm are of the whole batch."""
    alone, _ = ten_steps(tmp_path, 1, 1, dtype, "memory")
    assert len(alone["losses"]) == 10
    for processes in (1, 2):
        several, found = ten_steps(tmp_path, processes, 4 // processes, dtype, source)
        for name, value in alone.items():
            np.testing.assert_allclose(several[name], value, rtol=tolerance, atol=tolerance, err_msg=name)
        if source == "stream" and processes == 2:
            read = [set(part["read 0"]) for part in found]
            assert read[0] | read[1] == set(range(100))
            assert max(map(len, read)) < 70  # its half, and one partner per step and device


def test_a_run_of_two_processes_can_be_opened_by_one():
    assert Program.of(Config(hosts=2), NETWORK, 1).hosts == 1


@pytest.mark.parametrize(
    ("count", "hosts", "words"),
    [(9, 1, "devices = 9, but JAX sees 8"), (2, 2, "hosts = 2, but 1 processes cannot be divided into groups of 2")],
)
def test_what_is_not_there_is_refused(count, hosts, words):
    with pytest.raises(Exception, match=words):
        devices.check_devices(count, hosts)
