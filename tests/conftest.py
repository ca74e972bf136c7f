"""All tests run JAX at its strictest, on 8 simulated devices, with shapes checked at run time."""

import os
from pathlib import Path

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")

for _module in ("cnn_jax.ops", "cnn_jax.losses", "cnn_jax.metrics", "cnn_jax.training.augment"):
    install_import_hook(_module, "beartype.beartype")  # shapes and dtypes of annotated arrays

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: runs with --slow"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("CNN_JAX_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def highest():
    with jax.default_matmul_precision("highest"):
        yield


def required(what: str) -> bool:
    """Whether a tool or archive that a test needs must be there (in CI) instead of letting the test skip."""
    return what in os.environ.get("CNN_JAX_TEST_REQUIRE", "").split(",")
