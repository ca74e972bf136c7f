"""Inspection of a trained network, written to one folder: a page, figures as PNG, their data as NPZ."""

from cnn_jax.report.inspect.inspection import Request
from cnn_jax.report.inspect.see import see

__all__ = ["Request", "see"]
