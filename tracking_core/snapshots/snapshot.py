"""The whole state of an engine as bytes, and back.

A header (magic, version of the format, length and checksum of the rest), then MessagePack of `snapshot_format`.
Everything stands in an order of its own (devices by row, fences by tenant and id, ...), never in that of slots or
nodes: equal states give equal bytes, whatever the history of their tables.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import msgspec

from tracking_core.engine_state import EngineState
from tracking_core.settings import EngineSettings
from tracking_core.snapshots.format import PackedState
from tracking_core.snapshots.packing import packed_state
from tracking_core.snapshots.unpacking import unpacked_state

_MAGIC: Final = b"DRSN"
_VERSION: Final = 10
_HEADER: Final = struct.Struct("<4sIQI4x")


class SnapshotError(ValueError):
    """Bytes that are not a snapshot this engine can go on from; the text says why, in one line."""


def pack_state(state: EngineState, settings: EngineSettings) -> bytes:
    """The bytes of a state."""
    body = msgspec.msgpack.encode(packed_state(state, settings))
    return _HEADER.pack(_MAGIC, _VERSION, len(body), zlib.crc32(body)) + body


def unpack_state(data: bytes, settings: EngineSettings) -> EngineState:
    """The state of bytes. Raises SnapshotError. Rings longer than the settings keep lose their oldest readings."""
    if len(data) < _HEADER.size:
        raise SnapshotError(f"a snapshot has at least {_HEADER.size} bytes, this has {len(data)}")
    magic, version, length, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise SnapshotError(f"a snapshot begins with {_MAGIC!r}, this with {magic!r}")
    if version != _VERSION:
        raise SnapshotError(f"the snapshot has version {version}, this engine reads version {_VERSION}")
    body = memoryview(data)[_HEADER.size :]
    if len(body) != length or zlib.crc32(body) != checksum:
        raise SnapshotError("the snapshot is torn: its length or checksum does not match")
    try:
        packed = msgspec.msgpack.decode(body, type=PackedState)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"the snapshot is not a state of version {_VERSION}: {error}") from error
    if (packed.partitions, packed.partition) != (settings.partitions, settings.partition):
        raise SnapshotError(
            f"the snapshot is of partition {packed.partition} of {packed.partitions}, "
            f"this engine of {settings.partition} of {settings.partitions}"
        )
    return unpacked_state(packed, settings)
