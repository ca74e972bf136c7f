"""C++ behind jax.ffi: convolution and max pooling for float32 on a CPU."""
