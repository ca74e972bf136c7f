"""`cnn-jax bench NAME …`: each benchmark is a module with a dataclass of options, `measure` and `markdown`."""

import importlib
import json
import os
import sys
from collections.abc import Sequence

from bench import pages, process
from cnn_jax.cli import common
from cnn_jax.errors import RequestError, quote
from cnn_jax.runs import provenance

BENCHMARKS = {
    "step": "a training step, beside Flax and PyTorch",
    "sweep": "a whole grid, from the command to its table",
    "data": "batches from memory, from records and from other loaders",
    "insight": "attribution methods, beside captum and pytorch-grad-cam",
    "compile": "the time to the first step, without, before and with the cache of compiled programs",
    "training": "whole trainings of a recipe, beside its published implementation",
    "vmap": "whether trials batched with vmap reach other accuracies than alone",
    "pages": "write the tables in DIR into docs/performance.md and README.md",
}


def command(arguments: Sequence[str]) -> int:
    """Runs a benchmark and returns the exit code: 1 if results that should be equal are not."""
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:<8} {line}" for name, line in BENCHMARKS.items())
        print(f"usage: cnn-jax bench NAME …\n\n{lines}\n\nFor example: cnn-jax bench step --quick")
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in BENCHMARKS:
        raise RequestError(f"benchmark {quote(name)} is unknown; there are {', '.join(BENCHMARKS)}")
    if name == "pages":
        return pages.command(rest)
    module = importlib.import_module(f"bench.{name}")
    options = common.parse(getattr(module, name.capitalize()), rest, f"cnn-jax bench {name}")
    options.check()
    os.environ.update(options.environment)
    if options.torch:
        process.check_torch(options.torch)
    if options.trains:
        process.prepare()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    started = provenance.utc_now()
    measured = {"command": options.command_line(), "started": started, "git": process.commit()}
    measured |= {"rounds": options.rounds, **module.measure(options)}
    if "device" not in measured:  # otherwise reported by its workers, and this process does not touch the device
        measured |= {"device": provenance.device(), "versions": provenance.versions() | (measured.get("torch") or {})}
    text = module.markdown(measured)
    print(text, end="")
    if options.out:
        (options.out / f"{options.file}.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        (options.out / f"{options.file}.md").write_text(text, encoding="utf-8")
    for line in measured.get("failures", ()):
        print(line, file=sys.stderr)
    return 1 if measured.get("failures") else 0
