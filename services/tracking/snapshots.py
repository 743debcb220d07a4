"""Snapshots of a partition's engine on disk: written whole or not at all, checked when read, the last two kept.

A file is a header (magic, partition, offset, event marker, length of the state, checksum), then the state. A damaged
newest one is passed over for the one before; the log is kept at least back to the older of the two.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import struct
from typing import Final, NamedTuple

import structlog

from runtime.partitioned_log import offset_key
from runtime.problems import FatalError

log = structlog.get_logger()

KEPT: Final = 2
_MAGIC: Final = b"DRSNAP1\0"
_HEADER: Final = struct.Struct("<8sI48s64sQ32s")


class Snapshot(NamedTuple):
    """An engine's state after the entry at `offset`, when the events up to `marker` (event_sink.Marker) were out."""

    partition: int
    offset: str
    marker: str
    state: bytes


class DamagedSnapshotError(ValueError):
    """Bytes that are not a whole snapshot of the partition asked for."""


def encode(snapshot: Snapshot) -> tuple[bytes, bytes]:
    """Header and state."""
    offset, marker = snapshot.offset.encode(), snapshot.marker.encode()
    digest = _digest(offset, marker, snapshot.state)
    return _HEADER.pack(_MAGIC, snapshot.partition, offset, marker, len(snapshot.state), digest), snapshot.state


def _digest(offset: bytes, marker: bytes, state: bytes) -> bytes:
    digest = hashlib.blake2b(offset + b" " + marker + b" ", digest_size=32)
    digest.update(state)
    return digest.digest()


def decode(data: bytes, partition: int) -> Snapshot:
    """The snapshot in a file's bytes. Raises DamagedSnapshotError."""
    if len(data) < _HEADER.size:
        raise DamagedSnapshotError(f"{len(data)} bytes are too few")
    magic, written_for, raw_offset, raw_marker, length, digest = _HEADER.unpack_from(data)
    offset, marker = raw_offset.rstrip(b"\0"), raw_marker.rstrip(b"\0")
    state = data[_HEADER.size :]
    if magic != _MAGIC:
        raise DamagedSnapshotError("it does not begin as a snapshot does")
    if written_for != partition:
        raise DamagedSnapshotError(f"it is of partition {written_for}")
    if len(state) != length:
        raise DamagedSnapshotError(f"{length} bytes were written, {len(state)} are there")
    if _digest(offset, marker, state) != digest:
        raise DamagedSnapshotError("the checksum does not match")
    return Snapshot(partition, offset.decode(), marker.decode(), state)


class SnapshotFolder:
    """The snapshots of all partitions of one installation. Methods block; call them in a thread."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FatalError(f"cannot make the folder {folder}: {error.strerror}") from error

    def write(self, snapshot: Snapshot) -> None:
        """Adds a snapshot, durably, and lets go of those before the last two. Raises OSError, and then adds nothing."""
        path = self._folder / f"{snapshot.partition}-{snapshot.offset}.snapshot"
        draft = path.with_suffix(".draft")
        try:
            with draft.open("wb") as file:
                file.writelines(encode(snapshot))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            # A full disk is not to be filled with what did not fit.
            draft.unlink(missing_ok=True)
            raise
        draft.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for old in self._files(snapshot.partition)[KEPT:]:
            old.unlink()

    def read(self, partition: int) -> list[Snapshot]:
        """The sound ones, newest first. A damaged one is logged and stays for people to look at, renamed."""
        sound: list[Snapshot] = []
        for path in self._files(partition):
            try:
                sound.append(decode(path.read_bytes(), partition))
            except DamagedSnapshotError as error:
                log.warning("damaged snapshot passed over", file=str(path), reason=str(error))
                with contextlib.suppress(OSError):
                    path.replace(path.with_suffix(".damaged"))
        return sound

    def oldest_offset(self, partition: int) -> str | None:
        """The offset of the oldest one kept, once there are two; the log behind it is not needed any more."""
        files = self._files(partition)
        return _offset_of(files[-1]) if len(files) >= KEPT else None

    def _files(self, partition: int) -> list[pathlib.Path]:
        found = self._folder.glob(f"{partition}-*.snapshot")
        return sorted(found, key=lambda path: offset_key(_offset_of(path)), reverse=True)


def _offset_of(path: pathlib.Path) -> str:
    return path.stem.split("-", 1)[1]
