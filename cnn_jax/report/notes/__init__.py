"""A linter for research notes in Markdown, LaTeX and plain text: it recomputes every number from the folder that the
number refers to, and checks that the words around the number do not contradict it.

A reference is a link, `[87.3 %](run:PATH#test.accuracy)`, in LaTeX `\\result{run:PATH#test.accuracy}{87.3\\,\\%}`, with
PATH relative to the note; `PATH@DIGEST` pins the folder's content at the time of writing. A published number names its
source, `[0.95 %](cite:KEY)`. docs/notes.md lists the quantities and the rules.
"""

from cnn_jax.report.notes.checking import Finding, Report, check
from cnn_jax.report.notes.writing import generate, stamp

__all__ = ["Finding", "Report", "check", "generate", "stamp"]
