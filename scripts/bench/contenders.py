"""The contenders of the comparison: for each the module of its worker, its variant and its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Variants of ours by name, with the environment variables that select them. All but the first are measured only if
# --contenders names them.
OURS: dict[str, dict[str, str]] = {
    "ours": {},
    "ours-canonical": {"CNN_JAX_OPS": "canonical"},
    "ours-lax": {"CNN_JAX_OPS": "lax"},
    "ours-untuned": {"CNN_JAX_TUNE": "off"},
}

# Our modes of training several networks at once; `ours` uses the mode chosen by a short measurement.
WAYS = ("one", "workers", "vmap", "map")
GPU_VARIANTS = ("eager", "eager-channels_last", "compile-channels_last", "graph-channels_last")
TORCH_VARIANTS = ("eager", "eager-channels_last", "compile", "compile-channels_last")
WITH_MALLOC = "+malloc"


@dataclass(frozen=True)
class Contender:
    """One implementation in one configuration."""

    name: str
    framework: str  # cnn_jax, flax or torch
    module: str
    variant: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    malloc: bool = False  # its process sets malloc.SETTINGS
    optional: bool = False  # if it fails, the others are still measured
    on_request: bool = False  # measured only if named
    precision: str = "float32"  # see works.PRECISIONS


def gpu_contenders(torch: bool, precision: str) -> list[Contender]:
    """All contenders on a GPU at one precision, those with torch only if `torch`."""
    result = [Contender("ours", "cnn_jax", "bench.ours", precision=precision)]
    result.append(Contender("flax", "flax", "bench.flax_peer", precision=precision))
    for variant in GPU_VARIANTS if torch else ():
        name = f"torch-{variant}"
        result.append(Contender(name, "torch", "bench.torch_peer", variant, optional=True, precision=precision))
    return result


def contenders(torch: bool, several: bool = False) -> list[Contender]:
    """All contenders, those with torch only if `torch`; with `several`, those for training several networks."""
    result = [
        Contender(name, "cnn_jax", "bench.ours", environment=more, on_request=name != "ours")
        for name, more in OURS.items()
    ]
    if several:
        result = [Contender("ours", "cnn_jax", "bench.ours", "auto")]
        result += [Contender(f"ours-{way}", "cnn_jax", "bench.ours", way, on_request=True) for way in WAYS]
    peers = [("flax", "flax", "bench.flax_peer", "")]
    peers += [(f"torch-{variant}", "torch", "bench.torch_peer", variant) for variant in TORCH_VARIANTS if torch]
    for malloc in (False, True):
        for name, framework, module, variant in peers:
            optional = malloc or variant.startswith("compile")  # glibc may be missing, or a C++ compiler
            name += WITH_MALLOC * malloc
            result.append(Contender(name, framework, module, variant, malloc=malloc, optional=optional))
    return result
