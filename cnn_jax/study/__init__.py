"""Experiments: a question, a rule stated in advance, sweeps, a verdict, and its repetition (docs/protocol.md)."""

from cnn_jax.report.statements import effect_text
from cnn_jax.runs.verdict import Finding, Verdict
from cnn_jax.study.comparison import SMALL, Comparison, compare, percentages
from cnn_jax.study.experiment import Question, Stopped, Study, run, sentence
from cnn_jax.study.registration import Registration, register
from cnn_jax.study.tuning import Space

__all__ = [
    "SMALL",
    "Comparison",
    "Finding",
    "Question",
    "Registration",
    "Space",
    "Stopped",
    "Study",
    "Verdict",
    "compare",
    "effect_text",
    "percentages",
    "register",
    "run",
    "sentence",
]
