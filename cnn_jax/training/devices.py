"""Where a run trains: on one device, on several of its process, or on devices of several processes ("hosts").

Of several processes, which all run the same program, the consecutive `hosts` of a group train a run together, and the
first of a group, its leader, decides for the others.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from cnn_jax.errors import RequestError

PIECE_BYTES = 2**26  # of what a leader passes, at a time


def home_device() -> jax.Device:
    """The device of programs on a single device: the current `jax.default_device`, else the first local one."""
    return jax.config.jax_default_device or jax.local_devices()[0]  # type: ignore[attr-defined]


def check_devices(devices: int, hosts: int) -> None:
    """Raises RequestError if there are no `devices` devices on `hosts` processes."""
    processes = jax.process_count()
    if processes % hosts:
        raise RequestError(f"hosts = {hosts}, but {processes} processes cannot be divided into groups of {hosts}")
    if devices % hosts:
        raise RequestError(f"devices = {devices} cannot be divided among {hosts} processes")
    available = jax.local_device_count() * hosts
    if devices > available:
        raise RequestError(f"devices = {devices}, but JAX sees {available}")


def group(hosts: int) -> range:
    """The indices of the processes in the group of this process."""
    first = jax.process_index() // hosts * hosts
    return range(first, first + hosts)


def leads(hosts: int) -> bool:
    """True in the first process of a group."""
    return jax.process_index() == group(hosts)[0]


@functools.lru_cache(maxsize=8)
def mesh(devices: int, hosts: int = 1) -> Mesh:
    """`devices` devices along one axis, the batch: as many of each of the `hosts` processes of the group."""
    return _mesh(devices // hosts, hosts, "batch")


@functools.lru_cache(maxsize=8)
def _mesh(each: int, hosts: int, axis: str) -> Mesh:
    devices = [device for process in group(hosts) for device in jax.local_devices(process)[:each]]
    return Mesh(np.array(devices), (axis,), (jax.sharding.AxisType.Auto,))


def replicate(tree: Any, devices: int, hosts: int = 1) -> Any:
    """`tree`, which is the same in all `hosts` processes, on each device of the mesh, or on the home device if there is
    one device."""
    if devices == 1:
        return jax.device_put(tree, home_device())
    sharding = NamedSharding(mesh(devices, hosts), P())
    if hosts == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(functools.partial(_place, sharding), tree)


def _place(sharding: Sharding, leaf: Any) -> jax.Array:
    """The parts of `leaf` on the devices of this process, in an array over all processes."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _place(sharding, jax.random.key_data(leaf))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    array = np.asarray(leaf)
    return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)


def local_shards(devices: int, hosts: int = 1) -> list[int]:
    """The positions in the mesh of the devices of this process."""
    if devices == 1:
        return [0]
    here = jax.process_index()
    return [i for i, device in enumerate(mesh(devices, hosts).devices.flat) if device.process_index == here]


def shard(tree: Any, devices: int, hosts: int = 1) -> Any:
    """Divides arrays among the devices of the mesh along the leading axis; each process passes the part of its own."""
    if devices == 1:
        return jax.device_put(tree, home_device())
    sharding = NamedSharding(mesh(devices, hosts), P("batch"))
    return jax.tree.map(functools.partial(jax.make_array_from_process_local_data, sharding), tree)


def gather(numbers: Sequence[int], hosts: int) -> np.ndarray:
    """The numbers that each process of the group passes: int32 (hosts, numbers). All of the group must call this."""
    return _exchange(np.asarray(numbers, np.int32), hosts, all_rows=True)


def from_leader(content: bytes, hosts: int) -> bytes:
    """The content that the leader of the group passes. All of the group must call this."""
    if hosts == 1:
        return content
    pieces, rest = gather(divmod(len(content), PIECE_BYTES), hosts)[0].tolist()
    small = max(1024, 1 << (rest - 1).bit_length())  # few sizes, thus few programs
    received = b""
    for size, used in [(PIECE_BYTES, PIECE_BYTES)] * pieces + [(small, rest)]:
        buffer = np.zeros(size, np.uint8)
        if leads(hosts):
            buffer[:used] = np.frombuffer(content[len(received) : len(received) + used], np.uint8)
        received += _exchange(buffer, hosts, all_rows=False)[:used].tobytes()
    return received


def _exchange(row: np.ndarray, hosts: int, all_rows: bool) -> np.ndarray:
    """The rows that all processes of the group pass, stacked, or that of the leader."""
    if hosts == 1:
        return row[None] if all_rows else row
    across = _mesh(1, hosts, "process")
    rows = jax.make_array_from_callback((hosts, *row.shape), NamedSharding(across, P("process")), lambda _: row[None])
    return np.asarray(_select(across, all_rows)(rows))


@functools.lru_cache(maxsize=16)
def _select(across: Mesh, all_rows: bool) -> Any:
    return jax.jit(lambda rows: rows if all_rows else rows[0], out_shardings=NamedSharding(across, P()))
