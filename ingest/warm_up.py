"""Compiles what stands between the socket and the log before the first message comes."""

from __future__ import annotations

import numpy as np

from drover.api.ingest.v1 import ingest_service_pb2
from drover.telemetry.v1 import reading_pb2
from ingest.decoders.batch_ids import batch_ids
from ingest.decoders.crc16 import crc16
from ingest.decoders.native_protobuf import decode_bulk
from ingest.messages import from_pairs
from ingest.mqtt.chunks import Chunk
from ingest.mqtt.frames import ack_of, find_packets, read_length, read_publish, room_for
from ingest.partitioning import split
from ingest.streams.requests import take_apart
from ingest.topics.table import TopicTable

_NOW_US = 1_700_000_000_000_000


def warm_up() -> None:
    """Takes one message of every kind through every kernel, and throws the result away."""
    batch = reading_pb2.ReadingBatch(
        positions=[reading_pb2.Position(observed_at_us=_NOW_US, latitude_deg=1, longitude_deg=2)],
        sensors=[reading_pb2.SensorSample(observed_at_us=_NOW_US, quantity=reading_pb2.QUANTITY_DOOR_OPEN, value=3)],
        tags=[reading_pb2.TagRead(observed_at_us=_NOW_US, epc=b"\x30")],
    )
    topic = b"drover/v1/warm/up/batch"
    messages = from_pairs([(topic, batch.SerializeToString())], _NOW_US, "mqtt")
    chunk = Chunk(64)
    for is_version_5 in (False, True):
        find_packets(chunk.readable, 0, 0, is_version_5, 1024, room_for(4))
        _, body = read_length(chunk.readable, 1, 2)
        ack_of(read_publish(chunk.readable, 0, body, 2, is_version_5))
    table = TopicTable()
    table.add(topic, 0, 0)
    table.resolve(messages)
    one = np.zeros(1, np.uint8)
    readings, _ = decode_bulk(
        messages.buffer, messages.payload_start, messages.payload_end, one, one.astype(np.uint32), _NOW_US
    )
    batch_ids(messages.buffer, messages.payload_start, messages.payload_end, one)
    split(readings, 2)
    crc16(np.frombuffer(topic, np.uint8))
    device = ingest_service_pb2.DeviceReadings(device_id="warm", readings=batch)
    take_apart([ingest_service_pb2.StreamRequest(batch_number=1, devices=[device]).SerializeToString()])
