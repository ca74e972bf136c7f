"""The benchmarks of `cnn-jax bench`: a module each, with the contenders, their processes and what measures them."""
