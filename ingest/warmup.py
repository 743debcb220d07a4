"""Compiles the kernels of ingest, or loads them from numba's cache, before the first message: the event loop would
stand still for it, longer than a broker waits for an answer.
"""

from __future__ import annotations

import numpy as np

from ingest.decoders.native_protobuf import PayloadKind, decode_bulk
from ingest.messages import from_pairs
from ingest.mqtt_frames import ack_of, find_packets, read_length, read_publish, room_for
from ingest.partitioning import split
from ingest.topic_table import TopicTable


def compile_all() -> None:
    """Runs every kernel once on next to nothing, with arrays of the types that they get in earnest."""
    messages = from_pairs([(b"t", b"\x00")] * len(PayloadKind), 0, "mqtt")
    table = TopicTable()
    table.add(b"t", 0, 1)
    device = table.resolve(messages).device
    kinds = np.array(list(PayloadKind), np.uint8)
    readings, _ = decode_bulk(messages.buffer, messages.payload_start, messages.payload_end, kinds, device, 0)
    split(readings, 2)
    packet = np.frombuffer(b"\x32\x05\x00\x01t\x00\x01", np.uint8)
    for is_version_5 in (False, True):
        find_packets(packet, 0, len(packet), is_version_5, len(packet), room_for(1))
        _, body = read_length(packet, 1, len(packet))
        ack_of(read_publish(packet, 0, body, len(packet), is_version_5))
