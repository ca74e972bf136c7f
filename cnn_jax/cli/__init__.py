"""Command lines: they parse and call lab.py. A failure is one line on standard error and an exit code."""
