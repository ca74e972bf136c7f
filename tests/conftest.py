"""All tests run JAX at its strictest, on 8 simulated devices, with shapes checked at run time."""

import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

# Many commands train the same few networks: what one process compiled, the others of this run load. (With a limit of
# size JAX locks the folder, as several processes need it.) Programs and results are the same, bit for bit.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{tempfile.gettempdir()}/cnn_jax-compilations-{os.getpid()}")
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**30))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

# The tests compile thousands of programs and run each a few times: without LLVM's optimisations they take little more
# than half as long. `XLA_FLAGS= scripts/test` tests the programs as users compile them.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

import jax
import pytest
from counting import pytest_terminal_summary  # noqa: F401 - prints the table of counted cases
from jaxtyping import install_import_hook
from needs import required

jax.config.update("jax_numpy_rank_promotion", "raise")

for _module in ("cnn_jax.ops", "cnn_jax.losses", "cnn_jax.metrics", "cnn_jax.training.augment"):
    install_import_hook(_module, "beartype.beartype")  # shapes and dtypes of annotated arrays

from cnn_jax import registry  # noqa: E402 - after the hook
from cnn_jax.ops.native import library  # noqa: E402
from cnn_jax.paths import cache_root  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
MINUTES, SLOW_MINUTES = 25, 35  # on two cores: the tests, and those marked slow


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real archives; skips without one, fails where CNN_JAX_TEST_REQUIRE contains `data`."""
    named = os.environ.get("CNN_JAX_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not (folder / "mnist").is_dir():
        message = f"no real archives in {folder}: set CNN_JAX_TEST_DATA to a folder with mnist/ and fashion_mnist/"
        if required("data"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    """Says how long a run of all tests takes, before it starts."""
    config = session.config
    if config.args_source != config.ArgsSource.TESTPATHS or hasattr(config, "workerinput"):
        return
    if config.getoption("--slow"):
        duration = f"about {MINUTES + SLOW_MINUTES} minutes on two cores, {SLOW_MINUTES} of them for the slow tests"
    else:
        duration = f"about {MINUTES} minutes on two cores; --slow adds about {SLOW_MINUTES}"
    config.get_terminal_writer().line(f"All tests: {duration}")


def pytest_unconfigure():
    compilations = os.environ["JAX_COMPILATION_CACHE_DIR"]
    if compilations.endswith(f"-{os.getpid()}"):  # this process chose it: no worker, and not the caller
        shutil.rmtree(compilations, ignore_errors=True)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        items.sort(key=lambda item: "slow" not in item.keywords)  # long ones first: no worker waits at the end
    else:
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: runs with --slow"))


@pytest.fixture(scope="session")
def native_folder():
    """Where the native operations lie, built once for all tests; None where they cannot be built."""
    return cache_root() / "native" if library.available() else None


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch, native_folder):
    """No test reads or writes the user's cache, except for the native operations, which take long to build."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    cache.mkdir(exist_ok=True)
    if native_folder is not None and not (cache / "native").exists():
        (cache / "native").symlink_to(native_folder)
    monkeypatch.setenv("CNN_JAX_CACHE", str(cache))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch, native_folder):
    """A cache without any data."""
    (tmp_path / "cache").mkdir()
    if native_folder is not None:
        (tmp_path / "cache" / "native").symlink_to(native_folder)
    monkeypatch.setenv("CNN_JAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def own_compilations():
    """Processes of these tests keep compiled programs where a user's do. JAX's folder, which the other tests share,
    would be left broken by those that are killed, or whose disk is full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JAX_COMPILATION_CACHE_DIR")
        patch.delenv("JAX_COMPILATION_CACHE_MAX_SIZE")
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # every program, so that they can be counted
        yield


@pytest.fixture(scope="module", autouse=True)
def _few_maps():
    """Each compiled program maps some regions of memory, of which Linux grants a process 65,530: a process that keeps
    the programs of all tests is killed."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > 20_000:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def _own_origins():
    """A file whose parts a test registers in this process is a plugin of that test's runs, and of no others."""
    before = dict(registry.ORIGINS)
    yield
    registry.ORIGINS.clear()
    registry.ORIGINS.update(before)


@pytest.fixture
def highest():
    with jax.default_matmul_precision("highest"):
        yield
