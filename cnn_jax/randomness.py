"""Every key and generator of a run, one function each.

| what is drawn | function | from | by |
| --- | --- | --- | --- |
| initial weights | `initial_weights` | seed | stream; layer |
| feedback weights | `feedback_weights` | seed | stream; layer; the same at every step |
| dropout | `dropout` | seed | stream, step, part of the batch, device; layer |
| augmentation | `augmentation` | seed | stream, step, slot of the batch; place in the list |
| mixing of images | `mixing` | seed | stream, step, slot of the batch |
| gradient noise | `gradient_noise` | seed | stream, step, array of the parameters |
| order of the examples | `order` | seed | stream, epoch |
| split, or cut of the validation examples | `split` | split_seed | nothing: the seed alone |
| cut of a number of validation examples after the split | `second_cut` | split_seed | stream |
| fewer training examples | `subset` | split_seed | stream |
| label noise | (reserved) | split_seed | stream |

What stands behind a semicolon is folded in by the network or by `augment`. The first six are JAX keys (threefry2x32,
salmon2011parallel), each number folded in after the one before it; the others are NumPy generators (PCG64) whose
numbers are the spawn key of a `SeedSequence`. A stream's number comes first, so that no two rows ever share a key.

From one key there are either draws, or one split, or folds: `fold_in(key, 0)` is `split(key)[0]`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # JAX is imported where a key is made, so that data can be read without it
    from jax import Array
    from jax.typing import ArrayLike

PRNG = "threefry2x32"  # named, since JAX may change its default


class Stream(enum.IntEnum):
    """The numbers of the streams. Results depend on them: a new stream takes a new number."""

    INITIAL_WEIGHTS = 1
    FEEDBACK_WEIGHTS = 2
    DROPOUT = 3
    AUGMENTATION = 4
    MIXING = 5
    GRADIENT_NOISE = 6
    ORDER = 7
    SECOND_CUT = 8
    SUBSET = 9
    LABEL_NOISE = 10


def run_key(seed: int) -> Array:
    """The key that a run's other keys are folded from, never drawn with itself; `seed` in [0, 2^32)."""
    import jax

    return jax.random.key(seed, impl=PRNG)


def initial_weights(run: Array) -> Array:
    """The key of the weights before the first step, from the run's key."""
    return _fold(run, Stream.INITIAL_WEIGHTS)


def feedback_weights(run: Array) -> Array:
    """The key of the fixed random weights that feedback alignment sends errors back through."""
    return _fold(run, Stream.FEEDBACK_WEIGHTS)


def dropout(run: Array, step: ArrayLike, part: ArrayLike, device: ArrayLike) -> Array:
    """The key of the masks that a device draws for its share of one part of the batch of a step."""
    return _fold(run, Stream.DROPOUT, step, part, device)


def augmentation(run: Array, step: ArrayLike, slot: ArrayLike) -> Array:
    """The key of the augmentation of the example in one slot of the batch of a step."""
    return _fold(run, Stream.AUGMENTATION, step, slot)


def mixing(run: Array, step: ArrayLike, slot: ArrayLike) -> Array:
    """The key of the share that the example in one slot of the batch of a step keeps in its mixture."""
    return _fold(run, Stream.MIXING, step, slot)


def gradient_noise(run: Array, step: ArrayLike, leaf: int) -> Array:
    """The key of the noise on the gradient of the `leaf`-th array of the parameters in a step."""
    return _fold(run, Stream.GRADIENT_NOISE, step, leaf)


def order(seed: int, epoch: int) -> np.random.Generator:
    """The generator of the order of the examples in an epoch."""
    return _generator(seed, Stream.ORDER, epoch)


def split(split_seed: int) -> np.random.Generator:
    """The generator that deals a source's examples to the splits it does not come with."""
    return _generator(split_seed)


def second_cut(split_seed: int) -> np.random.Generator:
    """The generator that cuts validation examples from what `split` has left for training."""
    return _generator(split_seed, Stream.SECOND_CUT)


def subset(split_seed: int) -> np.random.Generator:
    """The generator that chooses fewer training examples."""
    return _generator(split_seed, Stream.SUBSET)


def _fold(key: Array, *numbers: ArrayLike) -> Array:
    import jax

    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key


def _generator(seed: int, *numbers: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=numbers)))
