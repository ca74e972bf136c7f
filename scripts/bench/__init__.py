"""The benchmarks of `cnn-jax bench`, a module each, and the contenders, their processes and the measurement."""
