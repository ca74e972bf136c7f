"""State dicts of torch against a computation in torch's own layout, by NumPy and SciPy."""

import jax.numpy as jnp
import numpy as np
from scipy import signal

from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.zoo import torchvision

RANDOM = np.random.default_rng(0)


def convolution(x, state, name, stride=1, padding=0, groups=1):
    """torch.nn.Conv2d on x (n, channels, height, width): weight (filters, channels of a group, size, size), a
    cross-correlation summed over the channels of the filter's group."""
    weight = state[f"{name}.weight"]
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    filters, seen = weight.shape[:2]
    maps = []
    for f in range(filters):
        first = f // (filters // groups) * seen
        images = [sum(signal.correlate2d(image[first + c], weight[f, c], "valid") for c in range(seen)) for image in x]
        maps.append(np.stack(images)[:, ::stride, ::stride] + state.get(f"{name}.bias", np.zeros(filters))[f])
    return np.stack(maps, 1)


def batch_norm(x, state, name):
    mean, variance, weight, bias = (
        state[f"{name}.{what}"][None, :, None, None] for what in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def max_pool(x, size):
    n, channels, height, width = x.shape
    return x.reshape(n, channels, height // size, size, width // size, size).max((3, 5))


def relu(x):
    return np.maximum(x, 0)


def drawn(**shapes):
    """A state dict of random arrays; what is a variance is positive."""
    return {
        name.replace("_", ".", name.count("_") - ("running" in name)): (
            RANDOM.uniform(0.5, 1.5, shape) if name.endswith("var") else RANDOM.normal(size=shape)
        ).astype(np.float32)
        for name, shape in shapes.items()
    }


def outputs(text, state, images):
    """Our logits of images (n, channels, height, width) with the weights of a state dict."""
    _, channels, height, width = images.shape
    network = Network((height, width, channels), parse(text))
    variables = torchvision.variables_of(network, state)
    return np.asarray(network.apply(variables, jnp.asarray(images.transpose(0, 2, 3, 1), jnp.float32)))


def test_a_network_like_alexnet_gives_what_torch_computes():
    """Kernels that are not symmetric, a group, and maps of 2 by 3 positions before the first dense layer: a transposed
    kernel and another order of flattening each give other logits."""
    state = drawn(
        features_0_weight=(4, 3, 3, 3), features_0_bias=(4,), features_3_weight=(6, 2, 3, 3), features_3_bias=(6,),
        classifier_1_weight=(5, 36), classifier_1_bias=(5,), classifier_3_weight=(3, 5), classifier_3_bias=(3,),
    )  # fmt: skip
    images = RANDOM.normal(size=(2, 3, 8, 10))
    x = max_pool(relu(convolution(images, state, "features.0", padding=1)), 2)
    x = relu(convolution(x, state, "features.3", groups=2))
    x = relu(linear(x.reshape(2, -1), state, "classifier.1"))
    expected = linear(x, state, "classifier.3")
    found = outputs("conv3-4:pad1 relu max2 conv3-6:g2 relu drop0.5 dense-5 relu dense-3", state, images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_network_like_resnet_gives_what_torch_computes():
    def norm(name, channels):
        kinds = ("weight", "bias", "running_mean", "running_var")
        return drawn(**{f"{name}_{kind}": (channels,) for kind in kinds})

    state = drawn(
        conv1_weight=(4, 3, 3, 3), layer1_0_conv1_weight=(4, 4, 3, 3), layer1_0_conv2_weight=(4, 4, 3, 3),
        layer2_0_conv1_weight=(6, 4, 3, 3), layer2_0_conv2_weight=(6, 6, 3, 3),
        layer2_0_downsample_0_weight=(6, 4, 1, 1), fc_weight=(3, 6), fc_bias=(3,),
    )  # fmt: skip
    state |= norm("bn1", 4) | norm("layer1_0_bn1", 4) | norm("layer1_0_bn2", 4)
    state |= norm("layer2_0_bn1", 6) | norm("layer2_0_bn2", 6) | norm("layer2_0_downsample_1", 6)
    images = RANDOM.normal(size=(2, 3, 8, 10))

    def block(x, name, stride):
        inside = convolution(x, state, f"{name}.conv1", stride, padding=1)
        inside = convolution(relu(batch_norm(inside, state, f"{name}.bn1")), state, f"{name}.conv2", padding=1)
        inside = batch_norm(inside, state, f"{name}.bn2")
        if stride > 1:
            x = batch_norm(convolution(x, state, f"{name}.downsample.0", stride), state, f"{name}.downsample.1")
        return relu(inside + x)

    x = relu(batch_norm(convolution(images, state, "conv1", padding=1), state, "bn1"))
    x = block(block(x, "layer1.0", 1), "layer2.0", 2)
    expected = linear(x.mean((2, 3)), state, "fc")
    text = (
        "conv3-4:pad1:nobias bn relu "
        "res( conv3-4:pad1:nobias bn relu conv3-4:pad1:nobias bn ) relu "
        "res( conv3-6/2:pad1:nobias bn relu conv3-6:pad1:nobias bn ):proj relu gap dense-3"
    )
    np.testing.assert_allclose(outputs(text, state, images), expected, rtol=1e-4, atol=1e-4)
