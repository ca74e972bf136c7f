"""Interpretability: pure functions of (network, variables, images), jitted and batched.

Images are the network's input: float (n, height, width, channels), normalised. A unit is one channel of a layer's maps
at one position, or one element of a dense layer's output.
"""
