"""Training: pure functions inside jit, a loop that yields events, checkpoints. No run folders, no reports."""
