"""Everything that can be seen in a trained network, in one folder: a page, figures as PNG, their data as NPZ."""

from cnn_jax.report.inspect.inspection import Request
from cnn_jax.report.inspect.see import see

__all__ = ["Request", "see"]
