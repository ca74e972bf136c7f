"""Worker: the product of two matrices, `-m bench.ceiling jax|torch cpu|gpu PRECISION`. Its rate is the ceiling for
every network on the machine."""

import sys

from bench.worker import Runner, serve

SIZES = {"cpu": 2048, "gpu": 8192}


def jax_product(device: str, precision: str) -> Runner:
    import jax
    import jax.numpy as jnp

    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    matrix = jax.random.normal(jax.random.key(0), (SIZES[device], SIZES[device]), dtype)
    exact = "highest" if precision == "float32" else "default"
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=exact))

    def run(steps: int) -> tuple[int, float]:
        for _ in range(steps):
            result = product(matrix, matrix)
        result.block_until_ready()
        return steps, 0.0

    return Runner(0, run, dict)


def torch_product(device: str, precision: str) -> Runner:
    import torch

    from bench.torch_peer import prepare, wait

    place = prepare(device, precision)
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    matrix = torch.randn(SIZES[device], SIZES[device], device=place, dtype=dtype)

    def run(steps: int) -> tuple[int, float]:
        for _ in range(steps):
            torch.mm(matrix, matrix)
        wait(place)
        return steps, 0.0

    return Runner(0, run, dict)


if __name__ == "__main__":
    framework, device, precision = sys.argv[1:]
    product = {"jax": jax_product, "torch": torch_product}[framework]
    serve(lambda: product(device, precision), malloc=False)
