# cnn_jax for the CPU: `docker build -t cnn_jax .`, then `docker run --rm cnn_jax` (the main job) or
# `docker run --rm cnn_jax scripts/test`.
FROM python:3.13-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends g++ git && rm -rf /var/lib/apt/lists/*
WORKDIR /cnn_jax
COPY . .
ENV CNN_JAX_ACCELERATOR=cpu CNN_JAX_PYTHON=python3
RUN scripts/run -c "import cnn_jax"
CMD ["scripts/run"]
