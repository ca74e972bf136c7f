"""The parts of scripts/bench_step.py: works, contenders, the processes that compute, the parent that measures."""
