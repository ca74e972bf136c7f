"""Convolution, its gradients and max pooling as loops over the taps of a window, in NumPy and float64."""

import numpy as np


def views(images, rows, columns):
    """For each tap (a, b) of the kernel, in order: what it sees of padded images, as views [n, oh, ow, c]."""
    for a in range(rows.size):
        for b in range(columns.size):
            y, x = a * rows.dilation, b * columns.dilation
            yield (a, b), images[
                :, y : y + (rows.output - 1) * rows.stride + 1 : rows.stride,
                x : x + (columns.output - 1) * columns.stride + 1 : columns.stride,
            ]  # fmt: skip


def padded(images, rows, columns):
    return np.pad(images.astype(np.float64), ((0, 0), (rows.low, rows.high), (columns.low, columns.high), (0, 0)))


def split(array, groups):
    """The last axis as [groups, channels of each]."""
    return array.reshape(*array.shape[:-1], groups, array.shape[-1] // groups)


def convolution(images, kernel, rows, columns, groups):
    out = np.zeros((len(images), rows.output, columns.output, kernel.shape[-1]))
    for tap, view in views(padded(images, rows, columns), rows, columns):
        product = np.einsum("nhwgc,cgf->nhwgf", split(view, groups), split(kernel[tap].astype(np.float64), groups))
        out += product.reshape(out.shape)
    return out


def data_gradient(gradient, kernel, rows, columns, groups):
    n, channels = len(gradient), kernel.shape[2] * groups
    out = padded(np.zeros((n, rows.length, columns.length, channels)), rows, columns)
    for tap, view in views(out, rows, columns):
        product = np.einsum("nhwgf,cgf->nhwgc", split(gradient.astype(np.float64), groups), split(kernel[tap], groups))
        view += product.reshape(view.shape)
    return out[:, rows.low : rows.low + rows.length, columns.low : columns.low + columns.length]


def kernel_gradient(images, gradient, rows, columns, groups):
    filters = gradient.shape[-1]
    out = np.zeros((rows.size, columns.size, images.shape[-1] // groups, filters))
    for tap, view in views(padded(images, rows, columns), rows, columns):
        product = np.einsum("nhwgc,nhwgf->cgf", split(view, groups), split(gradient.astype(np.float64), groups))
        out[tap] = product.reshape(-1, filters)
    return out


def products(images, kernel, gradient, rows, columns, groups):
    """The maps, and the gradients of images and kernel for a gradient of the maps."""
    geometry = rows, columns, groups
    return (
        convolution(images, kernel, *geometry),
        data_gradient(gradient, kernel, *geometry),
        kernel_gradient(images, gradient, *geometry),
    )


def max_pool(maps, pool):
    """The largest value of each pool x pool square, and which position of it holds it first (row by row)."""
    n, h, w, c = maps.shape
    h, w = h // pool, w // pool
    squares = maps[:, : h * pool, : w * pool].reshape(n, h, pool, w, pool, c)
    squares = squares.transpose(0, 1, 3, 5, 2, 4).reshape(n, h, w, c, pool * pool)
    return squares.max(-1, initial=-np.inf), squares.argmax(-1)


def unpool(gradient, positions, pool, shape):
    """The gradient of `max_pool` with respect to its maps."""
    out = np.zeros(shape)
    n, y, x, c = np.indices(gradient.shape)
    out[n, y * pool + positions // pool, x * pool + positions % pool, c] = gradient
    return out
