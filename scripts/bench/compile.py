"""How long a process takes to its first training step: without the cache of compiled programs, as the first that fills
it, and as a later one."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import options
from bench.measure import summary
from bench.process import environment
from cnn_jax.errors import RunError
from cnn_jax.paths import cache_root

NETWORKS = ("lenet5", "resnet20", "cifar_resnet18")
CASES = {"off": "no cache", "cold": "first process", "warm": "later process"}
QUICK = ("conv3-2 relu max2 dense-10",)

# The imports are over before the clock starts. `on_step` is called after the first dispatch, which is one step.
FIRST_STEP = """
import json, os, sys, time
import jax
from cnn_jax import api, compilations
from cnn_jax.runs.callbacks import Callback
from cnn_jax.training.config import Config
compilations.enable()
class First(Callback):
    def on_step(self, *_):
        print(json.dumps({"seconds": time.perf_counter() - started, "compilations": compilations.counts()}), flush=True)
        os._exit(0)
network, out = sys.argv[1:]
config = Config(network=network, dataset="digits", image_size="32x32", train_examples=256, batch_size=128)
api.load_data(config)
started = time.perf_counter()
api.train(config, out, show=False, callbacks=[First()])
"""


@dataclass(frozen=True, kw_only=True)
class Compile(options.Options):
    """Seconds from the imports to the end of the first training step, of processes without, before and with the cache
    of compiled programs, in turns. Lenet5 and resnet20 take four minutes for three rounds on two CPU cores.

    For example: cnn-jax bench compile --out results/performance
    """

    rounds: int = 5
    """Turns of each case."""
    networks: tuple[str, ...] = NETWORKS
    """The networks, on 32x32 images of the embedded digits."""


def measure(args: Compile) -> dict[str, Any]:
    """The content of the JSON file that is specific to this benchmark."""
    results = []
    for network in QUICK if args.quick else args.networks:
        cases: dict[str, list[dict[str, Any]]] = {case: [] for case in CASES}
        for _ in range(1 if args.quick else args.rounds):
            with tempfile.TemporaryDirectory() as cache:
                Path(cache, "native").symlink_to(cache_root() / "native")
                for case, processes in cases.items():
                    processes.append(_first_step(network, case, cache))
        results.append(
            {
                "network": network,
                **{case: summary([one["seconds"] for one in found], "seconds") for case, found in cases.items()},
                "programs": cases["cold"][0]["compilations"]["misses"],
                "found": cases["warm"][0]["compilations"]["hits"],
            }
        )
    return {"networks": results}


def _first_step(network: str, case: str, cache: str) -> dict[str, Any]:
    switch = {"CNN_JAX_COMPILE_CACHE": "off" if case == "off" else "on", "JAX_ENABLE_COMPILATION_CACHE": "true"}
    variables = environment("cnn_jax", {"CNN_JAX_CACHE": cache, **switch})
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_COMPILATION_CACHE_MAX_SIZE"):
        variables.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", FIRST_STEP, network, str(Path(folder) / "run")]
        done = subprocess.run(command, env=variables, capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"the training of {network} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


def markdown(measured: dict[str, Any]) -> str:
    """The table."""
    head = " | ".join(CASES.values())
    lines = [f"| network | {head} | first / later | programs kept, found |", "|---|---|---|---|---|---|"]
    for row in measured["networks"]:
        cells = (
            f"{row[case]['median']:.2f} ({row[case]['lower_quartile']:.2f} – {row[case]['upper_quartile']:.2f})"
            for case in CASES
        )
        ratio = row["cold"]["median"] / row["warm"]["median"]
        lines.append(f"| {row['network']} | {' | '.join(cells)} | {ratio:.1f} | {row['programs']}, {row['found']} |")
    n = measured["networks"][0]["cold"]["n"]
    return (
        "**Cache of compiled programs**: seconds from the imports to the end of the first training step (median and "
        f"quartiles of {n}, a new process each time, in turns), batches of 128 images of 32x32; "
        f"{measured['device']['cpu']}, jax {measured['versions']['jax']}; {measured['started'][:10]}.\n\n"
        + "\n".join(lines)
        + f"\n\n`{measured['command']}`\n"
    )
