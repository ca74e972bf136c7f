import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import samples

from cnn_jax.data import catalogue
from cnn_jax.errors import RequestError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CNN_JAX_CACHE", str(folder))
    return folder


@pytest.fixture
def shared_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for all tests of this run, in all its processes, so that real archives are prepared once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared_cache"
    monkeypatch.setenv("CNN_JAX_CACHE", str(folder))
    return folder


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a test change entries of the catalogue."""
    for name, entry in catalogue.CATALOGUE.items():
        monkeypatch.setitem(catalogue.CATALOGUE, name, entry)


@pytest.fixture
def tiny_mnist(tmp_path: Path, entries: None) -> Path:
    """A data folder in which `mnist` is 600 + 90 random images."""
    samples.install_tiny_mnist(tmp_path / "archives" / "mnist")
    return tmp_path / "archives"


@pytest.fixture
def refuses() -> Callable[..., AbstractContextManager[None]]:
    """`with refuses("part", "another part"):` expects a DataError or RequestError, one line with all these parts."""

    @contextmanager
    def check(*parts: object) -> Iterator[None]:
        with pytest.raises(RequestError) as caught:
            yield
        message = str(caught.value)
        assert "\n" not in message
        for part in parts:
            assert str(part) in message

    return check


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Starts another Python with this code, with `samples` to import."""

    def popen(code: str, **environment: str) -> subprocess.Popen:
        path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": path} | environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return popen
