"""Reads examples that TFDS has written to array_record. Needs array_record and protobuf but not TFDS, which takes a
second to import, and for an example ten times as long as protobuf."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cnn_jax.errors import DataError, reason

REQUEST = 1000  # records per request: each takes several times as long in one of 16


class Records:
    """The examples of one split, by number. Can be used from any thread and passed to another process.

    Args:
      name: of the split, for errors.
      source: array_record's data source.
      image, label: the names of the features.
    """

    def __init__(self, name: str, source: Sequence[bytes], image: str, label: str):
        self.name, self.source, self.image, self.label = name, source, image, label

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[str, bytes, int]]:
        """Yields name, encoded image and label of these examples, in order. Raises DataError for a damaged record."""
        for start in range(0, len(indices), REQUEST):
            request = [int(index) for index in indices[start : start + REQUEST]]
            for index, record in zip(request, self._read(request), strict=True):
                try:
                    features = _example_type().FromString(record).features.feature
                    image, label = features[self.image].bytes_list.value[0], features[self.label].int64_list.value[0]
                except Exception as error:  # of protobuf, or a missing feature
                    raise self._damaged(index, error) from error
                yield self.name_of(index), image, label

    def name_of(self, index: int) -> str:
        return f"{self.name} {index}"

    def _read(self, indices: list[int]) -> Sequence[bytes]:
        try:
            return self.source.__getitems__(indices)  # type: ignore[attr-defined]
        except Exception as error:  # many types; array_record verifies checksums
            if len(indices) == 1:
                raise self._damaged(indices[0], error) from error
        return [self._read([index])[0] for index in indices]

    def _damaged(self, index: int, error: Exception) -> DataError:
        return DataError(f"{self.name_of(index)}: this record is damaged: {reason(error)}")


@functools.cache
def _example_type() -> Any:
    """The class of the protobuf messages: tf.train.Example, as far as images and labels need it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="cnn_jax", syntax="proto3")

    def add(messages: Any, message: str, *fields: tuple[int, str, bool, int | str]) -> Any:
        """A message with fields (number, name, repeated, type or name of a message)."""
        added = messages.add(name=message)
        for number, name, repeated, kind in fields:
            nested = isinstance(kind, str)
            added.field.add(
                name=name,
                number=number,
                label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if nested else kind,
                type_name=f".cnn_jax.{kind}" if nested else None,
            )
        return added

    add(file.message_type, "BytesList", (1, "value", True, kinds.TYPE_BYTES))
    add(file.message_type, "Int64List", (1, "value", True, kinds.TYPE_INT64))
    add(file.message_type, "Feature", (1, "bytes_list", False, "BytesList"), (3, "int64_list", False, "Int64List"))
    features = add(file.message_type, "Features", (1, "feature", True, "Features.Entry"))
    entry = add(features.nested_type, "Entry", (1, "key", False, kinds.TYPE_STRING), (2, "value", False, "Feature"))
    entry.options.map_entry = True
    add(file.message_type, "Example", (1, "features", False, "Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("cnn_jax.Example"))
