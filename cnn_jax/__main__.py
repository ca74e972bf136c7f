"""`python -m cnn_jax VERB …`"""

from cnn_jax.cli import common, verbs

if __name__ == "__main__":
    common.main(verbs.command)
