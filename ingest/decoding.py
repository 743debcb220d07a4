"""Addressed messages in, columns out, and what was refused.

Native payloads are decoded in one call for all of them. A foreign payload is translated to a native batch first, so
that there is one set of rules. Only messages with something bad in them are looked at one by one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.admission import OF_ONE_READING, admit_singly, size
from ingest.decoders import FIRST_FOREIGN, Decoders
from ingest.decoders.batch_ids import NO_ID, batch_ids
from ingest.decoders.native_protobuf import PayloadKind, count_readings, decode_bulk
from ingest.messages import Messages, payload, topic
from ingest.partitioning import join
from ingest.reasons import Reason, Rejection
from ingest.topics.addressing import ELSEWHERE, Addressed
from tracking_core.columns import I64, U8, U32, Readings, count

_BATCH: Final = int(PayloadKind.BATCH)


class Refusal(NamedTuple):
    """What was not taken of a message."""

    message: int
    """The index of the message."""
    reason: Reason
    detail: str
    readings: int
    """How many readings it holds; 1 where nobody can tell."""
    part: ReadingBatch | None = None
    """The readings refused, where others of the message were taken; None is the whole message, as it came."""
    payload_bytes: int | None = None
    """How long the payload was, where only its beginning is at hand."""


class Asked(NamedTuple):
    """A batch whose device wants a receipt."""

    message: int
    """The index of the message."""
    batch_id: int
    accepted: int
    """How many of its readings are sound."""


class Decoded(NamedTuple):
    """All readings that are sound, all refusals, and who wants a receipt."""

    readings: Readings
    refusals: list[Refusal]
    asked: list[Asked]


class _Gathered(NamedTuple):
    """What comes of messages beside the readings of those that are sound as a whole."""

    refusals: list[Refusal]
    saved: list[Readings]
    """The sound readings of others."""
    asked: list[Asked]


class _Payloads(NamedTuple):
    """Native payloads: offsets into a buffer, and the index of the message that each came from."""

    buffer: U8
    start: I64
    end: I64
    kind: U8
    device: U32
    message: I64


def decode(addressed: Addressed, decoders: Decoders, max_payload_bytes: int) -> Decoded:
    """Decodes, refusing what is larger than `max_payload_bytes`. Marks refusals in `addressed.reason` too."""
    messages, reason = addressed.messages, addressed.reason
    too_large = messages.payload_end - messages.payload_start > max_payload_bytes
    reason[too_large & (reason == Reason.OK)] = Reason.TOO_LARGE
    gathered = _Gathered([], [], [])
    refusals, parts, asked = gathered
    if not reason.any() and not (addressed.decoder >= FIRST_FOREIGN).any():
        everything = np.arange(len(reason))
        native = _Payloads(
            messages.buffer,
            messages.payload_start,
            messages.payload_end,
            addressed.decoder,
            addressed.device,
            everything,
        )
        parts.append(_decode(native, messages, reason, gathered))
        return Decoded(join(parts), refusals, asked)
    for index in np.flatnonzero((reason != Reason.OK) & (reason != ELSEWHERE)).tolist():
        told = addressed.details.get(index, Rejection(Reason(int(reason[index]))))
        size = _size_of(addressed, index)
        refusals.append(Refusal(index, told.reason, told.detail, size, payload_bytes=told.payload_bytes))
    sound = reason == Reason.OK
    native = _chosen(addressed, np.flatnonzero(sound & (addressed.decoder < FIRST_FOREIGN)))
    if len(native.message):
        parts.append(_decode(native, messages, reason, gathered))
    foreign = np.flatnonzero(sound & (addressed.decoder >= FIRST_FOREIGN))
    if len(foreign):
        translated = _translated(addressed, decoders, foreign.tolist(), refusals)
        parts.append(_decode(translated, messages, reason, gathered))
    return Decoded(join(parts), refusals, asked)


def _decode(native: _Payloads, messages: Messages, reason: U8, gathered: _Gathered) -> Readings:
    """The readings of all messages that are sound as a whole; all else goes to `gathered`."""
    buffer, start, end, kind, device, message = native
    received_at_us = messages.received_at_us
    readings, status = decode_bulk(buffer, start, end, kind, device, received_at_us)
    saved: dict[int, int] = {}
    for row in np.flatnonzero(status).tolist():
        why, index = Reason(int(status[row])), int(message[row])
        reason[index] = why
        admitted = None
        if kind[row] == _BATCH and why in OF_ONE_READING:
            admitted = admit_singly(buffer[start[row] : end[row]].tobytes(), int(device[row]), received_at_us)
        if admitted is None:
            most = count_readings(buffer, start[row : row + 1], end[row : row + 1], kind[row : row + 1])
            gathered.refusals.append(Refusal(index, why, "", max(1, sum(most))))
            continue
        gathered.saved.append(admitted.readings)
        saved[row] = count(admitted.readings)
        for each, batch in admitted.refused.items():
            whole = size(batch) + count(admitted.readings)
            detail = f"{size(batch)} readings of a batch of {whole}" if len(admitted.refused) == 1 else ""
            gathered.refusals.append(Refusal(index, each, detail, size(batch), batch))
    if messages.outbox is not None:  # others have receipts of their own, or nobody to tell
        ids = batch_ids(buffer, start, end, kind)
        for row in np.flatnonzero(ids != NO_ID).tolist():
            accepted = saved.get(row, 0)
            if not status[row]:
                accepted = sum(count_readings(buffer, start[row : row + 1], end[row : row + 1], kind[row : row + 1]))
            gathered.asked.append(Asked(int(message[row]), int(ids[row]), accepted))
    return readings


def _chosen(addressed: Addressed, index: I64) -> _Payloads:
    messages = addressed.messages
    return _Payloads(
        messages.buffer,
        messages.payload_start[index],
        messages.payload_end[index],
        addressed.decoder[index],
        addressed.device[index],
        index,
    )


def _translated(addressed: Addressed, decoders: Decoders, indices: list[int], refusals: list[Refusal]) -> _Payloads:
    messages = addressed.messages
    native: list[bytes] = []
    taken: list[int] = []
    for index in indices:
        batch = _foreign(messages, decoders, index, int(addressed.decoder[index]))
        if isinstance(batch, Rejection):
            addressed.reason[index] = batch.reason
            refusals.append(Refusal(index, batch.reason, batch.detail, 1))
        else:
            native.append(batch.SerializeToString())
            taken.append(index)
    end = np.cumsum(np.array([len(each) for each in native], np.int64))
    start = end - np.array([len(each) for each in native], np.int64)
    message = np.array(taken, np.int64)
    buffer = np.frombuffer(b"".join(native), np.uint8)
    kind = np.full(len(taken), _BATCH, np.uint8)
    return _Payloads(buffer, start, end, kind, addressed.device[message], message)


def _foreign(messages: Messages, decoders: Decoders, index: int, decoder: int) -> ReadingBatch | Rejection:
    data = payload(messages, index)
    if not data:
        return Rejection(Reason.EMPTY)
    name = topic(messages, index).decode(errors="replace")
    return decoders.decode(decoder, name, data, messages.received_at_us)


def _size_of(addressed: Addressed, index: int) -> int:
    """How many readings a message holds that was refused unread."""
    messages = addressed.messages
    if not topic(messages, index).endswith(b"/batch"):
        return 1
    start, end = messages.payload_start[index : index + 1], messages.payload_end[index : index + 1]
    return max(1, sum(count_readings(messages.buffer, start, end, np.array([_BATCH], np.uint8))))
