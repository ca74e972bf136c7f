"""All random keys and generators of a run, one function each.

| drawn | function | seed | folded in |
| --- | --- | --- | --- |
| initial weights | `initial_weights` | seed | stream; layer |
| feedback weights (the same at every step) | `feedback_weights` | seed | stream; layer |
| dropout | `dropout` | seed | stream, step, part of the batch, device; layer |
| augmentation | `augmentation` | seed | stream, step, slot of the batch; index in the list |
| augmentation by epoch | `example` | seed | stream, position in the split; index in the list |
| mixing of images | `mixing` | seed | stream, step, slot of the batch |
| gradient noise | `gradient_noise` | seed | stream, step, array of the parameters |
| order of the examples | `order` | seed | stream, epoch |
| crop of a streamed image | `crop` | seed | stream, epoch, position in the split |
| split, or choice of the validation examples | `split` | split_seed | nothing |
| choice of validation examples after the split | `second_cut` | split_seed | stream |
| fewer training examples | `subset` | split_seed | stream |
| label noise | (reserved) | split_seed | stream |
| values that an experiment tries | `tuning` | 0 | stream, round |

Numbers after a semicolon are folded in by the network or by `augment`. The first seven rows are JAX keys (threefry2x32,
salmon2011parallel), into which the numbers are folded in this order; the others are NumPy generators (PCG64) with the
numbers as spawn key of a `SeedSequence`. The number of the stream comes first, so that no two rows ever share a key.

Each key is used for either draws, one split, or folds, since `fold_in(key, 0)` equals `split(key)[0]`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # JAX is imported where a key is created, so that data can be read without it
    from jax import Array
    from jax.typing import ArrayLike

PRNG = "threefry2x32"  # named, since JAX may change its default


class Stream(enum.IntEnum):
    """The numbers of the streams. Results depend on them: a new stream gets a new number."""

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
    CROP = 11
    EXAMPLE = 12
    TUNING = 13


def run_key(seed: int, generator: Any = PRNG) -> Array:
    """The key that all other keys of a run are derived from; never drawn with directly. `seed` is in [0, 2^32), and
    `generator` another implementation of the same numbers."""
    import jax

    return jax.random.key(seed, impl=generator)


def initial_weights(run: Array) -> Array:
    """The key of the initial weights, from the key of the run."""
    return _fold(run, Stream.INITIAL_WEIGHTS)


def feedback_weights(run: Array) -> Array:
    """The key of the fixed random weights that feedback alignment uses in the backward pass."""
    return _fold(run, Stream.FEEDBACK_WEIGHTS)


def dropout(run: Array, step: ArrayLike, part: ArrayLike, device: ArrayLike) -> Array:
    """The key of the dropout masks of a device, for its share of one accumulated part of the batch of a step."""
    return _fold(run, Stream.DROPOUT, step, part, device)


def augmentation(run: Array, step: ArrayLike, slot: ArrayLike) -> Array:
    """The key of the augmentation of the example in a slot of the batch of a step."""
    return _fold(run, Stream.AUGMENTATION, step, slot)


def example(run: Array, position: ArrayLike) -> Array:
    """The key of an example, the same in every epoch, by its position in the training split."""
    return _fold(run, Stream.EXAMPLE, position)


def mixing(run: Array, step: ArrayLike, slot: ArrayLike) -> Array:
    """The key of the mixing weight of the example in a slot of the batch of a step."""
    return _fold(run, Stream.MIXING, step, slot)


def gradient_noise(run: Array, step: ArrayLike, leaf: int) -> Array:
    """The key of the noise on the gradient of the `leaf`-th array of the parameters in a step."""
    return _fold(run, Stream.GRADIENT_NOISE, step, leaf)


def order(seed: int, epoch: int) -> np.random.Generator:
    """The generator of the order of the examples in an epoch."""
    return _generator(seed, Stream.ORDER, epoch)


def crop(seed: int, epoch: int, position: int) -> np.random.Generator:
    """The generator of the random window of an example in an epoch, by its position in the training split."""
    return _generator(seed, Stream.CROP, epoch, position)


def split(split_seed: int) -> np.random.Generator:
    """The generator that assigns the examples of a source to splits that it does not define itself."""
    return _generator(split_seed)


def second_cut(split_seed: int) -> np.random.Generator:
    """The generator that chooses validation examples from those that `split` has left for training."""
    return _generator(split_seed, Stream.SECOND_CUT)


def subset(split_seed: int) -> np.random.Generator:
    """The generator that chooses a subset of the training examples."""
    return _generator(split_seed, Stream.SUBSET)


def tuning(number: int) -> np.random.Generator:
    """The generator of the `number`-th round of random values that an experiment tries; the same for all its arms."""
    return _generator(0, Stream.TUNING, number)


def _fold(key: Array, *numbers: ArrayLike) -> Array:
    import jax

    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key


def _generator(seed: int, *numbers: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=numbers)))
