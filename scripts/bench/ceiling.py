"""Worker: the product of two 2048 x 2048 float32 matrices, `-m bench.ceiling jax` or `torch`. Its rate is the ceiling
for every network on the machine."""

import sys

from bench.worker import Runner, serve

SIZE = 2048
MULTIPLY_ADDS = SIZE**3


def jax_product() -> Runner:
    import jax
    import jax.numpy as jnp

    matrix = jax.random.normal(jax.random.key(0), (SIZE, SIZE))
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))

    def run(steps: int) -> tuple[int, float]:
        for _ in range(steps):
            result = product(matrix, matrix)
        result.block_until_ready()
        return steps, 0.0

    return Runner(0, run, dict)


def torch_product() -> Runner:
    import torch

    from bench.torch_peer import use_all_cores

    use_all_cores()
    matrix = torch.randn(SIZE, SIZE)

    def run(steps: int) -> tuple[int, float]:
        for _ in range(steps):
            torch.mm(matrix, matrix)
        return steps, 0.0

    return Runner(0, run, dict)


if __name__ == "__main__":
    serve({"jax": jax_product, "torch": torch_product}[sys.argv[1]], malloc=False)
