"""`python -m cnn_jax VERB …`"""

from cnn_jax.cli.main import run

if __name__ == "__main__":
    run()
