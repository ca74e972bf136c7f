"""Convolution as networks mean it: cross-correlation, the filter is not flipped."""

from jax import Array, lax
from jaxtyping import Float

from cnn_jax.ops.window import Window


def convolution(
    images: Float[Array, "n h w c"],
    kernel: Float[Array, "kh kw c_per_group f"],
    rows: Window,
    columns: Window,
    groups: int = 1,
) -> Float[Array, "n oh ow f"]:
    """Slides every filter of `kernel` over `images`: out[n, i, j, f] = sum over (a, b, c) of
    images[n, i·stride + a·dilation - low, j·stride + b·dilation - low, c] · kernel[a, b, c, f], zero outside.

    With `groups` > 1 the channels and filters are split into that many independent parts (Krizhevsky et al. 2012, 3.2).
    """
    return lax.conv_general_dilated(
        images,
        kernel,
        window_strides=(rows.stride, columns.stride),
        padding=((rows.low, rows.high), (columns.low, columns.high)),
        rhs_dilation=(rows.dilation, columns.dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
