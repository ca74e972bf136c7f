"""Worker processes: the same arrays and errors as without any, and an end to them whatever happens."""

import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from pngs import GREY, chunk, png
from samples import encoded, picture

from cnn_jax.data import decoding, workers
from cnn_jax.data.images import decode
from cnn_jax.errors import DataError, RunError

FILES = [(f"{i}.png", encoded(picture(i, 6, 5, *([3] * (i == 70))))) for i in range(100)]  # grey ones and one in colour


def worker_with(decode):
    """The code of a worker whose `decode` is this expression, in which `plain` is the real one."""
    return (
        "import os, sys, time; sys.path[:] = {}; import cnn_jax.data.decoding as d; plain = d.decode; "
        f"d.decode = {decode}; from cnn_jax.data.workers import serve; serve({{}}, {{}}, {{}}, {{}})"
    )


@pytest.fixture
def run(monkeypatch):
    """Decodes in batches of 3 with so many workers, which are gone after it."""
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(decoding, "BATCH", 3000)
    monkeypatch.setattr(decoding, "ENOUGH", 4)
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    def decode_with(cpus, items, image_size=None, starts=True):
        monkeypatch.setattr(decoding, "processors", lambda: cpus)
        started.clear()
        try:
            images = decoding.decode_all(iter(items), len(FILES), image_size)
        finally:
            assert len(started) == (cpus if cpus > 1 and starts else 0)
            assert all(process.returncode is not None for process in started)
        return images.split([60, 40])

    return decode_with


@pytest.mark.parametrize("size", [None, (4, 4, "squash"), (5, 3, "fit")])
def test_arrays_do_not_depend_on_the_number_of_workers(size, run):
    expected = np.stack([np.broadcast_to(decode(*file, size), (*(size or (6, 5))[:2], 3)) for file in FILES])
    for cpus in (1, 2, 3):
        assert np.array_equal(np.concatenate(run(cpus, FILES, size)), expected)


def test_few_images_start_no_worker(run):
    run(2, FILES[:8], starts=False)


def broken_at(index, data):
    return [*FILES[:index], (FILES[index][0], data), *FILES[index + 1 :]]


def unreadable(items, index):
    yield from items[:index]
    raise DataError(f"{items[index][0]}: cannot be read")


OTHER_SIZE = encoded(picture(0, 7, 9))
BROKEN_BEHIND = png(picture(0, 6, 5), 8, GREY, after=[chunk(b"tEXt", b"k\0v")[:-4] + bytes(4)])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: broken_at(5, b"text"), "5.png: neither"),
        (lambda: broken_at(50, b"text"), "50.png: neither"),
        (lambda: broken_at(99, FILES[99][1][:60]), "99.png: broken image"),
        (lambda: broken_at(50, OTHER_SIZE), "50.png is 9x7"),
        (lambda: broken_at(50, BROKEN_BEHIND), "50.png: broken image: wrong checksum of its chunk tEXt"),
        (lambda: unreadable(FILES, 50), "50.png: cannot be read"),
        (lambda: unreadable(broken_at(49, b"text"), 50), "49.png: neither"),
        (lambda: unreadable(broken_at(40, OTHER_SIZE), 50), "40.png is 9x7"),
    ],
)
def test_the_first_bad_image_is_the_error_whoever_decodes(make, what, run):
    messages = set()
    for cpus in (1, 2):
        with pytest.raises(DataError, match=what) as caught:
            run(cpus, make())
        messages.add(str(caught.value))
    assert len(messages) == 1


RAISING = """
import struct, sys
sys.path[:] = {}
from PIL import Image
plain = Image.frombytes
def frombytes(mode, size, data, *arguments):
    if b"odd one" in data:
        raise ERROR
    return plain(mode, size, data, *arguments)
Image.frombytes = frombytes
from cnn_jax.data.workers import serve
serve({}, {}, {}, {})
"""


@pytest.mark.parametrize("error", ["struct.error('x')", "MemoryError()", "type('Odd', (Exception,), dict())('x')"])
def test_whatever_a_decoder_raises_in_a_worker_names_the_file(error, run, monkeypatch):
    """It is Pillow that fails, in the worker, at one image; the process lives."""
    monkeypatch.setattr(workers, "WORKER", RAISING.replace("ERROR", error))
    odd = png(picture(0, 6, 5), 8, GREY, middle=[chunk(b"IDAT", b"odd one")])
    with pytest.raises(DataError, match=r"^50\.png: broken image: (x|MemoryError)$"):
        run(2, broken_at(50, odd))


@pytest.mark.parametrize(
    ("name", "end", "how"),
    [
        ("4.png", "os._exit(3)", "ended with exit status 3$"),
        ("50.png", "os.kill(os.getpid(), 11)", r"was ended by signal 11 \(Segmentation fault\)$"),
        ("99.png", "os.kill(os.getpid(), 9)", r"was ended by signal 9 \(Killed\), which is how a system that runs out"),
    ],
)
def test_a_worker_that_dies_is_named_with_the_image_it_was_at(name, end, how, run, monkeypatch):
    monkeypatch.setattr(workers, "WORKER", worker_with(f"lambda n, *a: {end} if n == {name!r} else plain(n, *a)"))
    with pytest.raises(RunError, match=rf"^{name}: the process that was decoding this image {how}"):
        run(2, FILES)


def test_a_worker_that_cannot_start_is_an_error(run, monkeypatch):
    monkeypatch.setattr(workers, "WORKER", "raise SystemExit(7)")
    with pytest.raises(RunError, match=r"\d+.png: the process that was to decode .* ended with exit status 7"):
        run(2, FILES)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent_and_its_main_module_is_not_run_again(end, tmp_path, start):
    slow = "lambda *a: (open(str(os.getpid()), 'w').close(), time.sleep(0.2), plain(*a))[2]"
    code = (
        "print('main', flush=True)\nimport cnn_jax.data.decoding as d, cnn_jax.data.workers as w, test_decoding as t\n"
        f"d.BATCH, d.ENOUGH, d.processors, w.WORKER = 3000, 4, lambda: 2, {worker_with(slow)!r}\n"
        "d.decode_all(iter(t.FILES), 100, None)"
    )
    process = start(code)
    deadline = time.monotonic() + 300
    while len(pids := [path.name for path in tmp_path.iterdir() if path.name.isdigit()]) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(end)
    out, err = process.communicate(timeout=30)  # no worker holds its pipes
    assert process.returncode == -end
    assert out == "main\n"
    assert err.count("Traceback") == (end == signal.SIGINT)
    while any(Path(f"/proc/{pid}").exists() and "Z" not in state(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
