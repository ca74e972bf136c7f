"""How long a process takes to its first training step: without the cache of compiled programs, as the first that fills
it, and as a later one."""

import itertools
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
from cnn_jax.errors import RequestError, RunError
from cnn_jax.paths import cache_root

NETWORKS = ("lenet5", "resnet20", "cifar_resnet18")
CASES = {"off": "no cache", "cold": "first process", "warm": "later process"}
# What may shorten the time to compile, by environment variables.
VARIANTS = {
    "as it is": {},
    "canonical": {"CNN_JAX_OPS": "canonical"},
    "no-autotuning": {"XLA_FLAGS": "--xla_gpu_autotune_level=0"},
    "autotuning-2": {"XLA_FLAGS": "--xla_gpu_autotune_level=2"},
    "no-triton": {"XLA_FLAGS": "--xla_gpu_enable_triton_gemm=false"},
    "no-command-buffers": {"XLA_FLAGS": "--xla_gpu_enable_command_buffer="},
}
QUICK = ("conv3-2 relu max2 dense-10",)

# The imports are over before the clock starts. `on_step` is called after the first dispatch, which is one step.
FIRST_STEP = """
import collections, json, os, sys, time
import jax
compiling = collections.Counter()
def add(event, seconds, fun_name="", **_):
    if event.endswith("/backend_compile_duration"):
        compiling[fun_name] += seconds
jax.monitoring.register_event_duration_secs_listener(add)
from cnn_jax import api, compilations
from cnn_jax.runs.callbacks import Callback
from cnn_jax.training.config import Config
compilations.enable()
class First(Callback):
    def on_step(self, *_):
        seconds = time.perf_counter() - started
        found = {"seconds": seconds, "compilations": compilations.counts(), "compiling": compiling}
        print(json.dumps(found), flush=True)
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
    variants: tuple[str, ...] = ("as it is",)
    """Settings to compare, each as a row of its own: canonical; on a GPU also no-autotuning, autotuning-2, no-triton
    and no-command-buffers."""

    def check(self) -> None:
        super().check()
        if unknown := [name for name in self.variants if name not in VARIANTS]:
            raise RequestError(f"--variants {unknown[0]}: known are {', '.join(VARIANTS)}")


def measure(args: Compile) -> dict[str, Any]:
    """The content of the JSON file that is specific to this benchmark."""
    results = []
    networks = QUICK if args.quick else args.networks
    for network, variant in itertools.product(networks, args.variants):
        cases: dict[str, list[dict[str, Any]]] = {case: [] for case in CASES}
        for _ in range(1 if args.quick else args.rounds):
            with tempfile.TemporaryDirectory() as cache:
                Path(cache, "native").symlink_to(cache_root() / "native")
                for case, processes in cases.items():
                    processes.append(_first_step(network, VARIANTS[variant], case, cache))
        results.append(
            {
                "network": network,
                "variant": variant,
                **{case: summary([one["seconds"] for one in found], "seconds") for case, found in cases.items()},
                "compiling": {name: round(seconds, 2) for name, seconds in _longest(cases["off"][-1]["compiling"])},
                "programs": cases["cold"][0]["compilations"]["misses"],
                "found": cases["warm"][0]["compilations"]["hits"],
            }
        )
    return {"networks": results}


def _longest(compiling: dict[str, float]) -> list[tuple[str, float]]:
    """The three programs that took longest to compile. Side by side they take less than their sum."""
    return sorted(compiling.items(), key=lambda item: -item[1])[:3]


def _first_step(network: str, variant: dict[str, str], case: str, cache: str) -> dict[str, Any]:
    switch = {"CNN_JAX_COMPILE_CACHE": "off" if case == "off" else "on", "JAX_ENABLE_COMPILATION_CACHE": "true"}
    variables = environment("cnn_jax", {"CNN_JAX_CACHE": cache, **switch, **variant})
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
    lines = [f"| network | {head} | first / later | programs kept, found | longest, without the cache |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in measured["networks"]:
        cells = (
            f"{row[case]['median']:.2f} ({row[case]['lower_quartile']:.2f} – {row[case]['upper_quartile']:.2f})"
            for case in CASES
        )
        ratio = row["cold"]["median"] / row["warm"]["median"]
        name = row["network"] if row["variant"] == "as it is" else f"{row['network']}, {row['variant']}"
        longest = ", ".join(
            f"{program.removeprefix('jit(').rstrip(')')} {s}" for program, s in row["compiling"].items()
        )
        counts = f"{row['programs']}, {row['found']}"
        lines.append(f"| {name} | {' | '.join(cells)} | {ratio:.1f} | {counts} | {longest} |")
    n = measured["networks"][0]["cold"]["n"]
    return (
        "**Cache of compiled programs**: seconds from the imports to the end of the first training step (median and "
        f"quartiles of {n}, a new process each time, in turns), batches of 128 images of 32x32; "
        f"{measured['device']['cpu']}, jax {measured['versions']['jax']}; {measured['started'][:10]}.\n\n"
        + "\n".join(lines)
        + f"\n\n`{measured['command']}`\n"
    )
