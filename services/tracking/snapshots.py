"""Snapshots of a partition's engine on disk: written whole or not at all, checked when read, the last two kept.

A file is a header (magic, partition, offset, length and checksum of the state), then the state. A damaged newest one is
passed over for the one before; the log is kept at least back to the older of the two.
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
_HEADER: Final = struct.Struct("<8sI48sQ32s")


class Snapshot(NamedTuple):
    """An engine's state after the entry at `offset`."""

    partition: int
    offset: str
    state: bytes


class DamagedSnapshotError(ValueError):
    """Bytes that are not a whole snapshot of the partition asked for."""


def encode(snapshot: Snapshot) -> tuple[bytes, bytes]:
    """Header and state."""
    digest = hashlib.blake2b(snapshot.state, digest_size=32, salt=snapshot.offset.encode()[:16]).digest()
    header = _HEADER.pack(_MAGIC, snapshot.partition, snapshot.offset.encode(), len(snapshot.state), digest)
    return header, snapshot.state


def decode(data: bytes, partition: int) -> Snapshot:
    """The snapshot in a file's bytes. Raises DamagedSnapshotError."""
    if len(data) < _HEADER.size:
        raise DamagedSnapshotError(f"{len(data)} bytes are too few")
    magic, written_for, raw_offset, length, digest = _HEADER.unpack_from(data)
    offset = raw_offset.rstrip(b"\0").decode("ascii", "replace")
    state = data[_HEADER.size :]
    if magic != _MAGIC:
        raise DamagedSnapshotError("it does not begin as a snapshot does")
    if written_for != partition:
        raise DamagedSnapshotError(f"it is of partition {written_for}")
    if len(state) != length:
        raise DamagedSnapshotError(f"{length} bytes were written, {len(state)} are there")
    if hashlib.blake2b(state, digest_size=32, salt=offset.encode()[:16]).digest() != digest:
        raise DamagedSnapshotError("the checksum does not match")
    return Snapshot(partition, offset, state)


class SnapshotFolder:
    """The snapshots of all partitions of one installation. Methods block; call them in a thread."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FatalError(f"cannot make the folder {folder}: {error.strerror}") from error

    def write(self, snapshot: Snapshot) -> None:
        """Adds a snapshot, durably, and lets go of those before the last two."""
        path = self._folder / f"{snapshot.partition}-{snapshot.offset}.snapshot"
        draft = path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.writelines(encode(snapshot))
            file.flush()
            os.fsync(file.fileno())
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
