"""Who is compared: for each contender the module of its worker, its variant, its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Variants of ours by name: the environment variables that make the difference. But for the first they are measured only
# where --contenders names them.
OURS: dict[str, dict[str, str]] = {
    "ours": {},
    "ours-canonical": {"CNN_JAX_OPS": "canonical"},
    "ours-lax": {"CNN_JAX_OPS": "lax"},
    "ours-untuned": {"CNN_JAX_TUNE": "off"},
}

# The ways of ours to train several networks at once; `ours` takes the one that a short measurement chooses.
WAYS = ("one", "workers", "vmap", "map")
TORCH_VARIANTS = ("eager", "eager-channels_last", "compile", "compile-channels_last")
WITH_MALLOC = "+malloc"


@dataclass(frozen=True)
class Contender:
    """`malloc`: its process sets malloc.SETTINGS. `optional`: where it fails, the others are measured all the same.
    `on_request`: it is measured only where it is named."""

    name: str
    framework: str  # cnn_jax, flax or torch
    module: str
    variant: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    malloc: bool = False
    optional: bool = False
    on_request: bool = False


def contenders(torch: bool, several: bool = False) -> list[Contender]:
    """All contenders, those that need torch only where it is there; or those who can train `several` networks."""
    found = [
        Contender(name, "cnn_jax", "bench.ours", environment=more, on_request=name != "ours")
        for name, more in OURS.items()
    ]
    if several:
        found = [Contender("ours", "cnn_jax", "bench.ours", "auto")]
        found += [Contender(f"ours-{way}", "cnn_jax", "bench.ours", way, on_request=True) for way in WAYS]
    peers = [("flax", "flax", "bench.flax_peer", "")]
    peers += [(f"torch-{variant}", "torch", "bench.torch_peer", variant) for variant in TORCH_VARIANTS if torch]
    for malloc in (False, True):
        for name, framework, module, variant in peers:
            optional = malloc or variant.startswith("compile")  # glibc may be missing, or a C++ compiler
            name += WITH_MALLOC * malloc
            found.append(Contender(name, framework, module, variant, malloc=malloc, optional=optional))
    return found
