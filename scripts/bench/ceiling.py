"""Worker: the product of two float32 matrices of 2048 x 2048, `-m bench.ceiling jax` or `torch`. What the machine
computes in a second there is the ceiling for every network."""

import sys

from bench.worker import Built, serve

SIZE = 2048
MULTIPLY_ADDS = SIZE**3


def jax_product() -> Built:
    import jax
    import jax.numpy as jnp

    matrix = jax.random.normal(jax.random.key(0), (SIZE, SIZE))
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))

    def run(steps: int) -> tuple[int, float]:
        for _ in range(steps):
            made = product(matrix, matrix)
        made.block_until_ready()
        return steps, 0.0

    return Built(0, run, dict)


def torch_product() -> Built:
    import torch

    from bench.torch_peer import use_all_cores

    use_all_cores()
    matrix = torch.randn(SIZE, SIZE)

    def run(steps: int) -> tuple[int, float]:
        for _ in range(steps):
            torch.mm(matrix, matrix)
        return steps, 0.0

    return Built(0, run, dict)


if __name__ == "__main__":
    serve({"jax": jax_product, "torch": torch_product}[sys.argv[1]], malloc=False)
