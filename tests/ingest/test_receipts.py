"""Receipts on `.../ack`: for whom, with what, when, and again after a death."""

from __future__ import annotations

import asyncio
import json
import pathlib
import signal
from typing import Any

import aiomqtt
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from drover.telemetry.v1.receipt_pb2 import Receipt
from ingest.decoders.batch_ids import NO_ID, batch_ids
from ingest.decoders.native_protobuf import PayloadKind
from ingest.messages import from_pairs
from ingest.mqtt.outbox import Outbox
from tests.ingest.readings import batch, position, sensor
from tests.ingest.rig import NOW_US, FakeLog, Rig, running
from tests.ingest.test_process import Ingest
from tests.servers.mosquitto import Mosquitto
from tests.servers.redis import RedisServer
from tracking_core.columns import count

PATIENCE_S = 30.0
BATCH = "drover/v1/acme/truck/batch"


def asking(number: int, *readings: Any) -> bytes:
    """A batch that asks for a receipt."""
    made = batch(*(readings or (position(),)))
    made.batch_id = number
    return made.SerializeToString()


def ids_of(payloads: list[bytes], kind: PayloadKind = PayloadKind.BATCH) -> list[int]:
    gap = b"\x20\x05"  # bytes that would be an id, if an offset were wrong
    buffer = np.frombuffer(gap + gap.join(payloads) + gap, np.uint8)
    lengths = np.array([len(payload) for payload in payloads], np.int64)
    start = np.cumsum(lengths + len(gap)) - lengths
    return batch_ids(buffer, start, start + lengths, np.full(len(payloads), kind, np.uint8)).tolist()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", NO_ID),
        (asking(0), 0),
        (asking(2**63 - 1), 2**63 - 1),
        (asking(2**63), NO_ID),
        (batch(position()).SerializeToString(), NO_ID),
        (b"\x20\x07" + asking(8), 8),  # sent twice
        (b"\x20\x07", 7),
        (b"\x20", NO_ID),
        (b"\x20" + b"\xff" * 10, NO_ID),
        (b"\x28\x01\x20\x07\x33\x34\x20\x07", 7),  # beside what nobody knows
        (b"\x0a\x7f\x20\x07", NO_ID),  # within what ends early
    ],
)
def test_ids(payload: bytes, expected: int) -> None:
    assert ids_of([payload, payload]) == [expected, expected]
    assert ids_of([payload], PayloadKind.POSITION) == [NO_ID]


@given(st.lists(st.one_of(st.binary(max_size=60), st.integers(0, 2**64 - 1).map(asking)), max_size=5))
@example([b"\x23\x24\x20\x01"])
def test_ids_are_those_of_protobuf(payloads: list[bytes]) -> None:
    for payload, found in zip(payloads, ids_of(payloads), strict=True):
        try:
            read = ReadingBatch.FromString(payload)
        except DecodeError:
            continue  # refused as a whole, whatever stands in it
        is_one = read.HasField("batch_id") and read.batch_id < 2**63
        assert found == (read.batch_id if is_one else NO_ID)


class Told:
    """A way for an outbox, which remembers what it was given."""

    window = 1000

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    def publish(self, topic: str, payload: bytes, qos: int, expiry_s: int | None) -> asyncio.Future[int]:
        assert (qos, expiry_s) == (1, None)
        self.sent.append((topic, payload))
        return asyncio.get_running_loop().create_future()


async def accept(rig: Rig, told: Told | None, *pairs: tuple[str, bytes]) -> None:
    outbox = None
    if told is not None:
        outbox = Outbox(1000)
        outbox.open(told)
    messages = from_pairs([(topic.encode(), data) for topic, data in pairs], NOW_US, "mqtt")
    await rig.pipeline.accept(messages._replace(outbox=outbox))


async def test_who_asks_is_told_once_it_is_in_the_log_and_nobody_else(tmp_path: pathlib.Path) -> None:
    log, told = FakeLog(), Told()
    async with running(tmp_path, log) as rig:
        await rig.provision("truck", "van")
        log.gate.clear()
        accepting = asyncio.create_task(
            accept(
                rig,
                told,
                (BATCH, asking(7, position(), sensor())),
                (BATCH, batch(position(sequence=2)).SerializeToString()),
                ("drover/v1/acme/van/batch", asking(8)),
                ("drover/v1/acme/truck/position", position(sequence=3).SerializeToString()),
                (BATCH, asking(9, position(sequence=4))),
            )
        )
        async with asyncio.timeout(PATIENCE_S):
            while log.in_flight == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert told.sent == []
        log.gate.set()
        await accepting
        assert [(topic, Receipt.FromString(payload)) for topic, payload in told.sent] == [
            ("drover/v1/acme/truck/ack", Receipt(batch_id=7, accepted=2)),
            ("drover/v1/acme/van/ack", Receipt(batch_id=8, accepted=1)),
            ("drover/v1/acme/truck/ack", Receipt(batch_id=9, accepted=1)),
        ]
        # The same by a topic that is known by now, and again, as after a fault.
        for _ in range(2):
            await accept(rig, told, (BATCH, asking(7, position(), sensor())))
        assert [Receipt.FromString(payload).batch_id for _, payload in told.sent[3:]] == [7, 7]
        await accept(rig, None, (BATCH, asking(7)))  # gRPC, or a replay: nobody to tell here
        assert len(told.sent) == 5


async def test_what_was_not_taken_is_told_with_its_reason(tmp_path: pathlib.Path) -> None:
    log, told = FakeLog(), Told()
    bad = position(latitude_deg=91.0)
    async with running(tmp_path, log, max_payload_bytes=2000) as rig:
        await rig.provision("truck")
        await accept(
            rig,
            told,
            (BATCH, asking(1, position(), bad, position(observed_at_us=5), bad)),
            (BATCH, asking(2, bad)),
            (BATCH, asking(3, *(position() for _ in range(100)))),  # too large to be looked into
            (BATCH, asking(4)[:-3]),
            (BATCH, b"\x20\x05"),
            ("drover/v1/acme/stranger/batch", asking(6)),
        )
        receipts = [Receipt.FromString(payload) for _, payload in told.sent]
    assert [(each.batch_id, each.accepted) for each in receipts] == [(1, 1), (2, 0), (5, 0)]
    reasons = [sorted((told.reason, told.count) for told in each.rejections) for each in receipts]
    assert reasons == [
        [("clock_unset", 1), ("coordinate_out_of_range", 2)],
        [("coordinate_out_of_range", 1)],
        [("empty", 1)],
    ]
    assert count(log.readings) == 1


async def test_who_asks_in_json_is_told_in_json(tmp_path: pathlib.Path) -> None:
    told = Told()
    sound = {"observed_at_us": NOW_US, "latitude_deg": 1, "longitude_deg": 2}
    bad = sound | {"latitude_deg": 91}
    async with running(tmp_path, FakeLog()) as rig:
        await rig.provision("truck")
        for topic in ("batch/json", "json"):
            payload = json.dumps({"batch_id": 7, "positions": [sound, bad]}).encode()
            await accept(rig, told, (f"drover/v1/acme/truck/{topic}", payload))
        await accept(rig, told, (f"{BATCH}/json", json.dumps({"positions": [sound]}).encode()))
        await accept(rig, told, (f"{BATCH}/json", json.dumps({"batch_id": -1, "positions": [sound]}).encode()))
    expected = {"batch_id": 7, "accepted": 1, "rejections": [{"reason": "coordinate_out_of_range", "count": 1}]}
    assert [(topic, json.loads(payload)) for topic, payload in told.sent] == [
        ("drover/v1/acme/truck/ack/json", expected),
        ("drover/v1/acme/truck/ack/json", expected),
    ]


@pytest.mark.server
async def test_who_asks_is_told_though_ingest_is_killed(
    tmp_path: pathlib.Path, redis_server: RedisServer, redis_url: str, mosquitto: Mosquitto
) -> None:
    """Killed after the append and before the receipt: the broker sends the batch again, and that brings it."""
    name = "truck-killed"
    ingest = Ingest(tmp_path, redis_url)
    environment = {
        "DROVER_INGEST_MQTT_URLS": f"mqtt://{mosquitto.host}:{mosquitto.port}",
        "DROVER_INGEST_MQTT_CLIENT_ID": name,
        "DROVER_INGEST_MQTT_TRIAL": "false",
    }
    async with aiomqtt.Client(mosquitto.host, mosquitto.port, identifier=f"{name}-device") as device:
        await device.subscribe(f"drover/v1/acme/{name}/ack", qos=1)
        process = await ingest.start(DROVER_FAULT_POINT="after_append", **environment)
        # Until ingest is subscribed nobody keeps a message; so it is sent again until ingest dies of it.
        death = asyncio.create_task(process.wait())
        while not death.done():
            await device.publish(f"drover/v1/acme/{name}/batch", asking(7), qos=1)
            await asyncio.wait({death}, timeout=0.5)
        assert death.result() == -signal.SIGKILL
        process = await ingest.start(**environment)
        async with asyncio.timeout(PATIENCE_S):
            payload = (await anext(device.messages)).payload
        assert isinstance(payload, bytes)
        assert Receipt.FromString(payload) == Receipt(batch_id=7, accepted=1)
        process.terminate()
        await process.wait()
