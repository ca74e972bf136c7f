"""Everything that can be seen in a trained network, in one folder: a page, figures as PNG, their data as NPZ."""

from cnn_jax.report.inside.see import see
from cnn_jax.report.inside.subject import Request

__all__ = ["Request", "see"]
