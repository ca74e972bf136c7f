"""The command line: parses arguments and calls `cnn_jax.api`. Errors are one line on stderr and an exit code."""
