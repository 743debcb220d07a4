"""Messages as a source hands them over: one read buffer and where each message stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from ingest.mqtt.outbox import Outbox
from tracking_core.columns import I64, U8

Source = Literal["mqtt", "grpc", "file"]


class Messages(NamedTuple):
    """All messages of one read, in order of arrival.

    `buffer` is uint8, C-contiguous and must not change while the pipeline has it. Message i has the topic
    `buffer[topic_start[i]:topic_end[i]]` (UTF-8) and the payload `buffer[payload_start[i]:payload_end[i]]`.
    """

    buffer: U8
    topic_start: I64
    topic_end: I64
    payload_start: I64
    payload_end: I64
    received_at_us: int
    source: Source
    outbox: Outbox | None = None
    """What goes back to their senders by MQTT; None where they did not come so."""


def count(messages: Messages) -> int:
    """How many messages."""
    return len(messages.topic_start)


def topic(messages: Messages, index: int) -> bytes:
    """A copy of the topic of one message: only for the slow paths."""
    return messages.buffer[messages.topic_start[index] : messages.topic_end[index]].tobytes()


def payload(messages: Messages, index: int) -> bytes:
    """A copy of the payload of one message: only for the slow paths."""
    return messages.buffer[messages.payload_start[index] : messages.payload_end[index]].tobytes()


def from_pairs(pairs: Sequence[tuple[bytes, bytes]], received_at_us: int, source: Source) -> Messages:
    """Messages of (topic, payload) pairs: replays and tests."""
    buffer = np.frombuffer(b"".join(part for pair in pairs for part in pair), np.uint8)
    lengths = np.array([len(part) for pair in pairs for part in pair], np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    columns = (np.ascontiguousarray(column) for column in (starts[::2], ends[::2], starts[1::2], ends[1::2]))
    topic_start, topic_end, payload_start, payload_end = columns
    return Messages(buffer, topic_start, topic_end, payload_start, payload_end, received_at_us, source)
