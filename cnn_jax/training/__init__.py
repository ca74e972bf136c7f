"""Training: pure functions inside jit, a loop that yields events, checkpoints. It knows no folders, no pages."""
