"""Looking into a network: pure functions of (network, variables, images), jitted and batched.

Images are what the network takes: float (n, height, width, channels), normalised. A unit is a channel of a layer's maps
at one position, or one number of a dense layer's output.
"""
