"""The library in somebody else's process: it changes nothing there. Only a command tunes its own."""

import json
import textwrap

import pytest
from commands import finish

HOST = """
import json, locale, logging, os, signal, sys, threading, warnings
import jax, matplotlib, numpy, pandas, scipy.sparse, scipy.special  # whatever they change, the host chose them
matplotlib.use("svg")
import matplotlib.pyplot as plt
plt.figure()
signal.signal(signal.SIGTERM, lambda *_: None)
os.chdir({folder!r})

def state():
    umask = os.umask(0)
    os.umask(umask)
    loggers = {{n: v for n, v in logging.root.manager.loggerDict.items() if isinstance(v, logging.Logger)}}
    seen = {{
        "backend": matplotlib.get_backend(), "figures": plt.get_fignums(), "rc": dict(matplotlib.rcParams),
        "environment": dict(os.environ), "folder": os.getcwd(), "umask": umask, "path": list(sys.path),
        "signals": {{str(n): str(signal.getsignal(n)) for n in signal.valid_signals()}},
        "logging": [logging.root.level, logging.root.handlers, logging.root.filters, logging.root.manager.disable],
        "levels": {{n: [v.level, v.propagate, v.disabled] for n, v in loggers.items() if n in known}},
        "warnings": warnings.filters, "showwarning": warnings.showwarning,
        "hooks": [sys.excepthook, sys.unraisablehook, threading.excepthook, sys.stdout, sys.stderr],
        "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(),
        "locale": locale.setlocale(locale.LC_ALL),
        "jax": {{name: getattr(jax.config, name, None) for name in jax.config.values}},
        "random": [str(numpy.random.get_state()[1][:4]), str(numpy.geterr()), numpy.get_printoptions()],
        "threads": sorted(t.name for t in threading.enumerate() if not t.daemon),
    }}
    return {{name: repr(value) for name, value in seen.items()}}

known = set(logging.root.manager.loggerDict)
before = state()
{work}
print(json.dumps({{name: [value, state()[name]] for name, value in before.items() if value != state()[name]}}))
"""

EVERY_MODULE = """
import importlib, pkgutil, cnn_jax
for module in pkgutil.walk_packages(cnn_jax.__path__, "cnn_jax."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""

TRAINING = """
from cnn_jax import api, runtime
from cnn_jax.grids.grid import Grid
from cnn_jax.training.config import Config
config = Config(network="conv3-4 relu dense-10", epochs=1, train_examples=300)
run = api.train(config, "run", show=False)
assert run.status in ("complete", "diverged"), run.result
api.sweep(Grid(config, {"learning_rate": (0.01, 0.1), "seed": (0,)}), "sweep", show=False)
assert runtime.settings() == (), "malloc was tuned"
"""


def changed_by(work, folder):
    code, out, err = finish("-c", HOST.format(folder=str(folder), work=textwrap.dedent(work)))
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def test_importing_every_module_changes_nothing_in_the_process(tmp_path):
    assert changed_by(EVERY_MODULE, tmp_path) == {}


@pytest.mark.slow
def test_training_and_a_sweep_change_nothing_in_the_process(tmp_path):
    assert changed_by(TRAINING, tmp_path) == {}


def test_a_command_tunes_its_own_process():
    """`ops` prints what holds in its process: a command's own."""
    code, out, err = finish("-m", "cnn_jax", "ops", "--json")
    assert code == 0, err
    assert json.loads(out)["settings"] == ["M_ARENA_MAX", "M_MMAP_THRESHOLD", "M_TRIM_THRESHOLD"]
    code, out, _ = finish("-m", "cnn_jax", "ops", "--json", CNN_JAX_TUNE="off")
    assert (code, json.loads(out)["settings"]) == (0, [])
