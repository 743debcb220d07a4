"""Sparkplug B: births, aliases, the running number, rebirths, history; anything at all; and a process at Mosquitto."""

from __future__ import annotations

import asyncio
import itertools
import json
import pathlib
import signal
from typing import Any

import aiomqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.foreign.v1.sparkplug_b_pb2 import (
    SparkplugMetric,
    SparkplugPayload,
    SparkplugPropertySet,
    SparkplugPropertyValue,
)
from drover.telemetry.v1.reading_pb2 import QUANTITY_DOOR_OPEN, QUANTITY_TEMPERATURE_CELSIUS, ReadingBatch
from ingest.decoders.sparkplug import MAX_PAYLOAD_METRICS, SparkplugDecoder
from ingest.decoders.sparkplug_metric import MetricNames
from ingest.decoders.sparkplug_node import FIRST_PAUSE_US, LONGEST_PAUSE_US
from ingest.devices.registry import AutoProvisioning
from ingest.field_mapping import FieldSource
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule
from tests.ingest.rig import NOW_US, FakeLog, announced_in, readings_of, running
from tests.ingest.test_process import Ingest, entries_of
from tests.servers.mosquitto import Mosquitto
from tracking_core.definitions import DeviceIdentity
from tracking_core.engine import Engine
from tracking_core.settings import EngineSettings
from tracking_core.verdicts import Verdict

NOW_MS = NOW_US // 1000
INT8, INT32, INT64, UINT32, DOUBLE, BOOLEAN = 1, 3, 4, 7, 10, 11
RULE = TopicRule(
    filter="spBv1.0/+/+/+/#", decoder="sparkplug", device_levels=(1, 3), optional_device_level=4, tenant="acme"
)
NCMD = "spBv1.0/yard/NCMD/gate"


def metric(name: str | None = None, value: float | None = None, **fields: Any) -> SparkplugMetric:
    """A double, unless a field says otherwise."""
    made = SparkplugMetric(timestamp=NOW_MS, **fields)
    if name is not None:
        made.name = name.encode()
    if isinstance(value, bool):
        made.boolean_value = value
    elif value is not None:
        made.double_value = value
    return made


def payload(*metrics: SparkplugMetric, seq: int | None = None) -> bytes:
    return SparkplugPayload(timestamp=NOW_MS, metrics=metrics, seq=seq).SerializeToString()


def nbirth(bd_seq: int = 0, seq: int = 0) -> bytes:
    rebirth = metric("Node Control/Rebirth", value=False, datatype=BOOLEAN)
    return payload(metric("bdSeq", datatype=INT64, long_value=bd_seq), rebirth, seq=seq)


LATITUDE, LONGITUDE, SPEED, TEMPERATURE = 1, 2, 3, 4


def dbirth(seq: int = 1) -> bytes:
    return payload(
        metric("Position/Latitude", 41.15, alias=LATITUDE, datatype=DOUBLE),
        metric("Position/Longitude", -8.61, alias=LONGITUDE, datatype=DOUBLE),
        metric("Position/speed_mps", 0.0, alias=SPEED, datatype=DOUBLE),
        metric("temperature_celsius", alias=TEMPERATURE, datatype=INT8, int_value=4),
        metric("Pump/Torque", 12.0, alias=99, datatype=DOUBLE),
        seq=seq,
    )


class Node:
    """A decoder, what it asked for, and a clock: a second a message."""

    def __init__(self, max_metrics: int = 1000, fields: dict[str, tuple[FieldSource, ...]] | None = None) -> None:
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.decoder = SparkplugDecoder(self._publish, MetricNames(fields or {}), max_metrics)
        self.now_us = NOW_US

    def _publish(self, topic: str, body: bytes) -> None:
        self.asked.append(topic)
        self.bodies.append(body)

    def hears(
        self, kind: str, data: bytes, device: str = "truck", *, edge: str = "gate", at_us: int | None = None
    ) -> ReadingBatch | Rejection:
        tail = f"/{device}" if kind.startswith("D") else ""
        if at_us is None:
            self.now_us += 1_000_000
        return self.decoder.decode(f"spBv1.0/yard/{kind}/{edge}{tail}", data, self.now_us if at_us is None else at_us)

    def reads(self, kind: str, data: bytes, device: str = "truck") -> ReadingBatch:
        answer = self.hears(kind, data, device)
        assert isinstance(answer, ReadingBatch), answer
        return answer

    def refuses(self, kind: str, data: bytes, device: str = "truck", *, at_us: int | None = None) -> Reason:
        answer = self.hears(kind, data, device, at_us=at_us)
        assert isinstance(answer, Rejection), answer
        return answer.reason


@pytest.fixture
def born() -> Node:
    node = Node()
    assert node.refuses("NBIRTH", nbirth()) is Reason.NOT_A_READING
    node.reads("DBIRTH", dbirth())
    return node


def test_bytes_by_the_numbers_of_the_specification() -> None:
    """Section 6.4.1, by hand: fields that are not read, a data set and metadata among them, are passed over."""
    name = b"Position/Latitude"
    latitude = (
        b"\x0a" + bytes([len(name)]) + name + b"\x10\x01\x18\x80\xd0\x95\xff\xbc\x31\x20\x0a"
        b"\x42\x02\x08\x01\x6a\x00"  # metadata; a template reference that is empty
        b"\x69\x33\x33\x33\x33\x33\x93\x44\x40"
    ).replace(b"\x6a\x00", b"")
    longitude = b"\x0a\x09longitude\x18\x80\xd0\x95\xff\xbc\x31\x65\x00\x00\x0a\xc1"
    table = b"\x0a\x05table\x8a\x01\x02\x08\x03"
    data = b"\x08\x80\xd0\x95\xff\xbc\x31"
    for each in (latitude, longitude, table):
        data += b"\x12" + bytes([len(each)]) + each
    data += b"\x18\x01\x22\x04uuid\x2a\x04body"
    node = Node()
    node.hears("NBIRTH", nbirth())
    (fix,) = node.reads("DBIRTH", data).positions
    assert fix.observed_at_us == 1_700_000_000_000_000
    assert fix.latitude_deg == pytest.approx(41.15)
    assert fix.longitude_deg == -8.625
    assert not node.asked


def test_births_have_readings(born: Node) -> None:
    readings = born.reads("DBIRTH", dbirth(seq=2))
    (fix,) = readings.positions
    assert (fix.observed_at_us, fix.latitude_deg, fix.longitude_deg, fix.speed_mps) == (NOW_US, 41.15, -8.61, 0)
    (sample,) = readings.sensors
    assert (sample.quantity, sample.value) == (QUANTITY_TEMPERATURE_CELSIUS, 4)
    assert not born.asked


def test_only_what_changed_is_sent(born: Node) -> None:
    readings = born.reads("DDATA", payload(metric(alias=LATITUDE, value=41.16), seq=2))
    assert [(fix.latitude_deg, fix.longitude_deg) for fix in readings.positions] == [(41.16, -8.61)]
    # A speed of its own is news of the fix too: the place did not change.
    readings = born.reads("DDATA", payload(metric(alias=SPEED, value=7.5), seq=3))
    assert [(fix.latitude_deg, fix.longitude_deg, fix.speed_mps) for fix in readings.positions] == [(41.16, -8.61, 7.5)]
    assert not born.reads("DDATA", payload(metric(alias=TEMPERATURE, int_value=0xF9), seq=4)).positions
    assert not born.asked


@pytest.mark.parametrize(
    ("datatype", "sent", "value"),
    [
        (INT8, 0xF9, -7),
        (INT8, 0xFFFFFFF9, -7),
        (INT32, 2**32 - 7, -7),
        (INT32, 7, 7),
        (UINT32, 2**32 - 7, 2**32 - 7),
    ],
)
def test_the_sign_is_in_the_birth(datatype: int, sent: int, value: int) -> None:
    node = Node()
    node.hears("NBIRTH", nbirth())
    node.reads("DBIRTH", payload(metric("temperature_celsius", alias=1, datatype=datatype, int_value=sent), seq=1))
    (sample,) = node.reads("DDATA", payload(metric(alias=1, int_value=sent), seq=2)).sensors
    assert sample.value == value


def test_values_that_are_none(born: Node) -> None:
    bad = SparkplugPropertySet(keys=[b"Quality"], values=[SparkplugPropertyValue(int_value=0)])
    good = SparkplugPropertySet(keys=[b"x", b"Quality"], values=[SparkplugPropertyValue()] * 1 + [
        SparkplugPropertyValue(int_value=192)
    ])  # fmt: skip
    assert born.reads("DDATA", payload(metric(alias=TEMPERATURE, value=1.0, properties=good), seq=2)).sensors
    for nothing in ({"is_null": True}, {"value": 1.0, "properties": bad}, {"value": 1.0, "is_transient": True}, {}):
        seq = 3
        assert born.refuses("DDATA", payload(metric(alias=TEMPERATURE, **nothing), seq=seq)) is Reason.NOT_A_READING
    # Without a place there is no fix, until there is one again.
    assert born.refuses("DDATA", payload(metric(alias=LONGITUDE, is_null=True), seq=4)) is Reason.NOT_A_READING
    assert born.refuses("DDATA", payload(metric(alias=LATITUDE, value=41.2), seq=5)) is Reason.NO_LOCATION
    assert born.reads("DDATA", payload(metric(alias=LONGITUDE, value=-8.6), seq=6)).positions[0].latitude_deg == 41.2


def test_metrics_of_several_times(born: Node) -> None:
    """Twice the same measure: each time is a fix, with what was present then."""
    metrics = [metric(alias=LATITUDE, value=41.0 + n) for n in range(3)]
    metrics.append(metric(alias=LONGITUDE, value=-8.0))
    for n, each in enumerate(metrics[:3]):
        each.timestamp = NOW_MS + n
    metrics[3].timestamp = NOW_MS + 1
    readings = born.reads("DDATA", payload(*metrics, seq=2))
    assert [(fix.observed_at_us - NOW_US, fix.latitude_deg, fix.longitude_deg) for fix in readings.positions] == [
        (0, 41, -8.61),
        (1000, 42, -8),
        (2000, 43, -8),
    ]


def test_measures_of_nearly_one_time_are_one_fix(born: Node) -> None:
    late = metric(alias=LONGITUDE, value=-8.0)
    late.timestamp += 3
    (fix,) = born.reads("DDATA", payload(metric(alias=LATITUDE, value=41.0), late, seq=2)).positions
    assert (fix.observed_at_us, fix.latitude_deg, fix.longitude_deg) == (NOW_US + 3000, 41, -8)


def test_history_comes_first_and_is_not_the_present(born: Node) -> None:
    old = [
        metric(alias=LATITUDE, value=40.0, is_historical=True),
        metric(alias=LONGITUDE, value=-8.0, is_historical=True),
        metric(alias=LATITUDE, value=39.0, is_historical=True),
        metric(alias=TEMPERATURE, value=9.0, is_historical=True),
    ]
    for each, age_ms in zip(old, (60_000, 60_000, 120_000, 60_000), strict=True):
        each.timestamp -= age_ms
    readings = born.reads("DDATA", payload(metric(alias=TEMPERATURE, value=5.0), *old, seq=2))
    # The latitude of two minutes ago has no longitude of its time, and takes none of now.
    assert [(fix.observed_at_us - NOW_US, fix.latitude_deg, fix.longitude_deg) for fix in readings.positions] == [
        (-60_000_000, 40, -8)
    ]
    assert [fix.is_historical for fix in readings.positions] == [True]
    assert [sample.value for sample in readings.sensors] == [9, 5]
    (fix,) = born.reads("DDATA", payload(metric(alias=SPEED, value=1.0), seq=3)).positions
    assert (fix.latitude_deg, fix.longitude_deg, fix.is_historical) == (41.15, -8.61, False)


async def test_history_does_not_touch_the_live_state(tmp_path: pathlib.Path) -> None:
    """Of a device whose birth had no place: newer than all that is known of it, and still not where it is shown."""
    log = FakeLog()
    born_us, old_us, now_us = NOW_US, NOW_US + 60_000_000, NOW_US + 120_000_000
    birth = payload(
        metric("Latitude", alias=LATITUDE, datatype=DOUBLE, is_null=True),
        metric("Longitude", alias=LONGITUDE, datatype=DOUBLE, is_null=True),
        seq=1,
    )
    old = [
        metric(alias=alias, value=value, is_historical=True) for alias, value in ((LATITUDE, 40.0), (LONGITUDE, -8.0))
    ]
    live = [metric(alias=alias, value=value) for alias, value in ((LATITUDE, 40.01), (LONGITUDE, -8.0))]
    for each, at_us in zip([*old, *live], [old_us] * 2 + [now_us] * 2, strict=True):
        each.timestamp = at_us // 1000
    async with running(tmp_path, log, rules=[RULE], auto=AutoProvisioning(enabled=True)) as rig:
        await rig.send(
            ("spBv1.0/yard/NBIRTH/gate", nbirth()),
            ("spBv1.0/yard/DBIRTH/gate/truck", birth),
            ("spBv1.0/yard/DDATA/gate/truck", payload(*old, seq=2)),
            received_at_us=born_us,
        )
        assert log.readings.positions.is_historical.tolist() == [1]
        engine = Engine(EngineSettings())
        engine.announce([DeviceIdentity(int(log.readings.positions.device[0]), "acme", "yard.gate.truck")])
        stored = engine.step(log.readings, now_us)
        assert stored.position_verdicts.tolist() == [Verdict.HISTORICAL]
        assert len(stored.live.device) == len(engine.latest().device) == 0
        log.entries.clear()
        await rig.send(("spBv1.0/yard/DDATA/gate/truck", payload(*live, seq=3)), received_at_us=now_us)
        assert log.readings.positions.is_historical.tolist() == [0]
        shown = engine.step(log.readings, now_us)
    assert shown.live.latitude_deg.tolist() == [40.01]
    assert (shown.verdict_changes.observed_at_us.tolist(), shown.verdict_changes.after.tolist()) == ([old_us], [1])


def test_data_before_a_birth(born: Node) -> None:
    node = Node()
    data = payload(metric(alias=LATITUDE, value=41.16), seq=7)
    assert node.refuses("DDATA", data) is Reason.NO_BIRTH
    assert node.asked == [NCMD]
    (asked,) = SparkplugPayload.FromString(node.bodies[0]).metrics
    assert asked.name == b"Node Control/Rebirth"
    assert (asked.datatype, asked.boolean_value, asked.HasField("alias")) == (BOOLEAN, True, False)
    assert not SparkplugPayload.FromString(node.bodies[0]).HasField("seq")
    # Born meanwhile, the letter is read: as of when it came, with the aliases of the birth, and nothing of the present.
    first_us = node.now_us
    node.hears("NBIRTH", nbirth())
    node.reads("DBIRTH", dbirth())
    both = payload(metric(alias=LATITUDE, value=41.16), metric(alias=LONGITUDE, value=-8.5), seq=7)
    replayed = node.hears("DDATA", both, at_us=first_us)
    assert isinstance(replayed, ReadingBatch)
    assert replayed.positions[0].latitude_deg == 41.16
    assert node.refuses("DDATA", data, at_us=first_us) is Reason.NO_LOCATION
    # It did not count: neither its number nor its values.
    (fix,) = node.reads("DDATA", payload(metric(alias=SPEED, value=1.0), seq=2)).positions
    assert (fix.latitude_deg, fix.longitude_deg) == (41.15, -8.61)
    assert node.asked == [NCMD]


def test_data_with_names_need_no_birth_but_one_is_asked_for() -> None:
    node = Node()
    named = payload(metric("lat", 1.0), metric("lon", 2.0), metric("door_open", value=True), metric("Torque", 1.0))
    readings = node.reads("DDATA", named)
    assert [(fix.latitude_deg, fix.longitude_deg) for fix in readings.positions] == [(1, 2)]
    assert [sample.quantity for sample in readings.sensors] == [QUANTITY_DOOR_OPEN]
    assert node.asked == [NCMD]
    assert node.refuses("DDATA", payload(metric("temperature_celsius", int_value=0xF9))) is Reason.NO_BIRTH


def test_an_unknown_alias(born: Node) -> None:
    data = payload(metric(alias=TEMPERATURE, value=5.0), metric(alias=50, value=1.0), seq=2)
    assert born.refuses("DDATA", data) is Reason.NO_BIRTH
    assert born.asked == [NCMD]


def test_aliases_are_those_of_the_device(born: Node) -> None:
    other = payload(metric("temperature_celsius", 1.0, alias=20, datatype=DOUBLE), seq=2)
    born.reads("DBIRTH", other, "trailer")
    assert born.refuses("DDATA", payload(metric(alias=LATITUDE, value=1.0), seq=3), "trailer") is Reason.NO_BIRTH


def test_a_rebirth_forgets_the_devices(born: Node) -> None:
    born.hears("NBIRTH", nbirth())
    assert born.refuses("DDATA", payload(metric(alias=TEMPERATURE, value=5.0), seq=1)) is Reason.NO_BIRTH


def test_the_running_number_goes_round(born: Node) -> None:
    for number in range(2, 600):
        born.reads("DDATA", payload(metric(alias=TEMPERATURE, value=float(number)), seq=number % 256))
    assert not born.asked


def test_a_gap_asks_for_a_rebirth_and_believes_no_value_before_it(born: Node) -> None:
    assert born.refuses("DDATA", payload(metric(alias=LATITUDE, value=41.3), seq=3)) is Reason.NO_LOCATION
    assert born.asked == [NCMD]
    assert born.reads("DDATA", payload(metric(alias=TEMPERATURE, value=5.0), seq=4)).sensors
    assert born.reads("DDATA", payload(metric(alias=LONGITUDE, value=-8.4), seq=5)).positions[0].latitude_deg == 41.3
    assert born.asked == [NCMD]


def test_messages_that_come_twice_are_no_gap(born: Node) -> None:
    data = payload(metric(alias=TEMPERATURE, value=5.0), seq=2)
    assert born.reads("DDATA", data) == born.reads("DDATA", data)
    assert not born.asked


def test_messages_of_all_devices_count(born: Node) -> None:
    trailer = payload(metric("temperature_celsius", 1.0, alias=20, datatype=DOUBLE), seq=2)
    born.reads("DBIRTH", trailer, "trailer")
    assert born.refuses("NDATA", payload(metric("x", 1.0), seq=3)) is Reason.NOT_A_READING
    assert born.refuses("DDEATH", payload(seq=4), "trailer") is Reason.NOT_A_READING
    born.reads("DDATA", payload(metric(alias=TEMPERATURE, value=5.0), seq=5))
    assert not born.asked


def test_it_is_asked_seldom_and_ever_more_seldom() -> None:
    node = Node()
    data = payload(metric(alias=LATITUDE, value=1.0))
    asked_s = []
    for second in range(3600):
        before = len(node.asked)
        node.hears("DDATA", data)
        if len(node.asked) > before:
            asked_s.append(second)
    assert [after - before for before, after in itertools.pairwise(asked_s)] == [
        10, 20, 40, 80, 160, 320, 600, 600, 600, 600
    ]  # fmt: skip
    assert (FIRST_PAUSE_US, LONGEST_PAUSE_US) == (10_000_000, 600_000_000)
    node.now_us += 2 * LONGEST_PAUSE_US
    node.hears("DDATA", data)
    node.now_us += FIRST_PAUSE_US
    node.hears("DDATA", data)
    assert len(node.asked) == len(asked_s) + 2


def test_other_nodes_are_asked_apart() -> None:
    node = Node()
    data = payload(metric(alias=LATITUDE, value=1.0))
    for edge in ("a", "b", "a", "b"):
        node.hears("DDATA", data, edge=edge)
    assert node.asked == ["spBv1.0/yard/NCMD/a", "spBv1.0/yard/NCMD/b"]


def test_deaths(born: Node) -> None:
    data = payload(metric(alias=TEMPERATURE, value=5.0), seq=2)
    late = payload(metric("bdSeq", long_value=255))
    assert born.refuses("NDEATH", late) is Reason.NOT_A_READING
    born.reads("DDATA", data)
    assert born.refuses("NDEATH", payload(metric("bdSeq", long_value=0))) is Reason.NOT_A_READING
    assert not born.asked
    assert born.refuses("DDATA", data) is Reason.NO_BIRTH
    assert born.asked == [NCMD]


def test_the_death_of_a_device(born: Node) -> None:
    assert born.refuses("DDEATH", payload(seq=2)) is Reason.NOT_A_READING
    assert not born.asked
    assert born.refuses("DDATA", payload(metric(alias=TEMPERATURE, value=5.0), seq=3)) is Reason.NO_BIRTH
    assert born.asked == [NCMD]


def test_what_is_remembered_is_bounded() -> None:
    node = Node(max_metrics=20)
    for edge in ("a", "b", "c"):
        node.hears("NBIRTH", nbirth(), edge=edge)
        node.hears("DBIRTH", dbirth(), edge=edge)
    data = payload(metric(alias=TEMPERATURE, value=5.0), seq=2)
    assert isinstance(node.hears("DDATA", data, edge="c"), ReadingBatch)
    assert isinstance(node.hears("DDATA", data, edge="a"), Rejection)
    # One that is too large alone is asked, and not at every message.
    node = Node(max_metrics=5)
    for _ in range(3):
        node.hears("NBIRTH", nbirth())
        node.hears("DBIRTH", dbirth())
        node.hears("DDATA", data)
    assert node.asked == [NCMD]


def test_metrics_by_configuration() -> None:
    node = Node(
        fields={
            "latitude_deg": (FieldSource(path="Inputs/Geo.Y", scale=1e-7),),
            "longitude_deg": (FieldSource(path="Inputs/Geo.X", scale=1e-7),),
            "temperature_celsius": (FieldSource(path="T in"), FieldSource(path="T out", scale=0.1)),
        }
    )
    node.hears("NBIRTH", nbirth())
    readings = node.reads(
        "DBIRTH",
        payload(
            metric("Inputs/Geo.Y", datatype=INT32, int_value=411_500_000),
            metric("Inputs/Geo.X", datatype=INT32, int_value=2**32 - 86_100_000),
            metric("T out", 215.0, datatype=DOUBLE),
            metric("T in", 4.0, datatype=DOUBLE),
            metric("latitude", 1.0, datatype=DOUBLE),
            seq=1,
        ),
    )
    (fix,) = readings.positions
    assert (fix.latitude_deg, fix.longitude_deg) == (pytest.approx(41.15), pytest.approx(-8.61))
    assert [(sample.probe, sample.value) for sample in readings.sensors] == [(1, 21.5), (0, 4)]


@pytest.mark.parametrize(
    ("topic", "data", "reason"),
    [
        ("spBv1.0/yard/NCMD/gate", b"\xff", Reason.NOT_A_READING),
        ("spBv1.0/yard/DCMD/gate/truck", b"\xff", Reason.NOT_A_READING),
        ("spBv1.0/STATE/host", b'{"online":true}', Reason.NOT_A_READING),
        ("spBv1.0/STATE/host/x", b'{"online":true}', Reason.NOT_A_READING),
        ("spAv1.0/yard/NDATA/gate", b"", Reason.UNKNOWN_TOPIC),
        ("spBv1.0/yard/NDATA/gate/truck", b"", Reason.UNKNOWN_TOPIC),
        ("spBv1.0/yard/DDATA/gate", b"", Reason.UNKNOWN_TOPIC),
        ("spBv1.0/yard/XDATA/gate", b"", Reason.UNKNOWN_TOPIC),
        ("spBv1.0/yard/NDATA/gate", b"\xff", Reason.MALFORMED),
        ("spBv1.0/yard/NDATA/gate", payload(SparkplugMetric(double_value=1)), Reason.MISSING_FIELD),
        (
            "spBv1.0/yard/NDATA/gate",
            SparkplugPayload(metrics=[SparkplugMetric(name=b"lat", double_value=1)]).SerializeToString(),
            Reason.MISSING_FIELD,
        ),
        (
            "spBv1.0/yard/NDATA/gate",
            payload(SparkplugMetric(name=b"lat", double_value=1, timestamp=2**63)),
            Reason.VALUE_OUT_OF_RANGE,
        ),
        ("spBv1.0/yard/NDATA/gate", payload(metric("lat", 1.0)), Reason.NO_LOCATION),
        ("spBv1.0/yard/NDATA/gate", payload(metric("torque", 1.0)), Reason.NOT_A_READING),
        ("spBv1.0/yard/NDATA/gate", payload(metric(alias=1, value=1.0)), Reason.NO_BIRTH),
        ("spBv1.0/yard/DBIRTH/gate/truck", payload(metric("torque", 1.0)), Reason.UNKNOWN_TYPE),
        ("spBv1.0/yard/NBIRTH/gate", payload(metric("torque", 1.0)), Reason.UNKNOWN_TYPE),
        ("spBv1.0/yard/NBIRTH/gate", nbirth(), Reason.NOT_A_READING),
        (
            "spBv1.0/yard/NBIRTH/gate",
            payload(*[SparkplugMetric()] * (MAX_PAYLOAD_METRICS + 1)),
            Reason.TOO_LARGE,
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else None,
)
def test_reasons(topic: str, data: bytes, reason: Reason) -> None:
    answer = Node().decoder.decode(topic, data, NOW_US)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


_KINDS = st.sampled_from(["NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH", "NCMD", "DCMD"])
_METRIC = st.builds(
    lambda fields, value: SparkplugMetric(**fields, **value),
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from([b"lat", b"lon", b"a/speed_mps", b"satellites", b"temperature_celsius", b"bdSeq"])
            | st.binary(max_size=4),
            "alias": st.integers(0, 3),
            "timestamp": st.integers(NOW_MS, NOW_MS + 2) | st.integers(0, 2**64 - 1),
            "datatype": st.integers(0, 40),
            "is_historical": st.booleans(),
            "is_null": st.booleans(),
        },
    ),
    st.one_of(
        st.fixed_dictionaries({"int_value": st.integers(0, 2**32 - 1)}),
        st.fixed_dictionaries({"long_value": st.integers(0, 2**64 - 1)}),
        st.fixed_dictionaries({"float_value": st.floats(width=32)}),
        st.fixed_dictionaries({"double_value": st.floats()}),
        st.fixed_dictionaries({"boolean_value": st.booleans()}),
        st.just({}),
    ),
)
_PAYLOAD = st.binary(max_size=30) | st.builds(
    lambda metrics, seq, timestamp: SparkplugPayload(metrics=metrics, seq=seq, timestamp=timestamp).SerializeToString(),
    st.lists(_METRIC, max_size=5),
    st.none() | st.integers(0, 300),
    st.none() | st.just(NOW_MS),
)


@given(st.lists(st.tuples(_KINDS, _PAYLOAD, st.integers(0, 20_000_000), st.booleans()), max_size=12))
def test_any_messages_give_readings_or_a_reason(messages: list[tuple[str, bytes, int, bool]]) -> None:
    node = Node(max_metrics=8)
    for kind, data, later_us, is_replay in messages:
        node.now_us += later_us
        answer = node.hears(kind, data, at_us=NOW_US - later_us if is_replay else None)
        assert isinstance(answer, ReadingBatch | Rejection)
        if isinstance(answer, ReadingBatch):
            assert answer.positions or answer.sensors
            ReadingBatch.FromString(answer.SerializeToString())
    for body in node.bodies:
        assert SparkplugPayload.FromString(body).metrics[0].boolean_value


async def test_through_the_pipeline(tmp_path: pathlib.Path) -> None:
    """One rule for nodes and devices; what is refused for want of a birth is read once there is one."""
    log, asked = FakeLog(), list[str]()
    auto = AutoProvisioning(enabled=True)
    data = payload(metric(alias=LATITUDE, value=41.2), metric(alias=LONGITUDE, value=-8.5), seq=9)
    async with running(tmp_path, log, rules=[RULE], auto=auto, publish=lambda topic, _: asked.append(topic)) as rig:
        await rig.send(("spBv1.0/yard/DDATA/gate/truck", data))
        (letter,) = await rig.letters()
        assert letter.reason == "no_birth"
        assert asked == [NCMD]
        await rig.send(
            ("spBv1.0/yard/NBIRTH/gate", nbirth()),
            ("spBv1.0/yard/DBIRTH/gate/truck", dbirth()),
            (NCMD, b"ours, as it comes back"),
            received_at_us=NOW_US + 1_000_000,
        )
        outcome = await rig.pipeline.replay(letter)
        assert outcome.accepted == 1
        assert len(await rig.letters()) == 1
        assert [device.name.device_id for device in await rig.registry.page("acme", "", 10)] == [
            "yard.gate",
            "yard.gate.truck",
        ]
    assert log.readings.positions.latitude_deg.tolist() == [41.15, 41.2]


async def test_births_on_new_topics_come_before_the_data_behind_them(tmp_path: pathlib.Path) -> None:
    """The topic of the data is known, those of the births must be looked up: the data waits for them."""
    log, asked = FakeLog(), list[str]()
    data = payload(metric(alias=LATITUDE, value=41.2), seq=2)
    async with running(tmp_path, log, rules=[RULE], auto=AutoProvisioning(enabled=True),
                       publish=lambda topic, _: asked.append(topic)) as rig:  # fmt: skip
        await rig.send(("spBv1.0/yard/DDATA/gate/truck", data))
        assert len(await rig.letters()) == 1
        await asyncio.gather(
            rig.send(("spBv1.0/yard/NBIRTH/gate", nbirth()), ("spBv1.0/yard/DDATA/other/truck", data)),
            rig.send(("spBv1.0/yard/DBIRTH/gate/truck", dbirth()), ("spBv1.0/yard/DDATA/gate/truck", data)),
            rig.send(("spBv1.0/yard/DDATA/gate/truck", payload(metric(alias=SPEED, value=9.0), seq=3))),
        )
        # Nothing waits any more.
        await rig.send(("spBv1.0/yard/DDATA/gate/truck", payload(metric(alias=LATITUDE, value=41.3), seq=4)))
        assert [letter.topic.split("/")[3] for letter in await rig.letters()] == ["gate", "other"]
    assert log.readings.positions.latitude_deg.tolist() == [41.15, 41.2, 41.2, 41.3]
    assert log.readings.positions.speed_mps.tolist() == [0, 0, 9, 9]


@pytest.mark.server
async def test_a_rebirth_of_a_real_process(mosquitto: Mosquitto, redis_url: str, tmp_path: pathlib.Path) -> None:
    """A node sends data before its births, as after a restart of ingest; it is asked, is born again, and is heard."""
    rule = RULE.model_dump(exclude_none=True) | {"filter": "spBv1.0/field/+/+/#"}
    ingest = Ingest(tmp_path, redis_url)
    process = await ingest.start(
        DROVER_INGEST_MQTT_URLS=f"mqtt://{mosquitto.host}:{mosquitto.port}",
        DROVER_INGEST_MQTT_CLIENT_ID="sparkplug-host",
        DROVER_INGEST_TOPICS=json.dumps([rule]),
    )
    data = payload(metric(alias=LATITUDE, value=41.2), seq=2)
    async with asyncio.timeout(60), aiomqtt.Client(mosquitto.host, mosquitto.port) as node:
        await node.subscribe("spBv1.0/field/NCMD/edge")
        commands = asyncio.create_task(anext(aiter(node.messages)))
        while not commands.done():  # until ingest is subscribed, nobody hears
            await node.publish("spBv1.0/field/DDATA/edge/truck", data)
            await asyncio.wait({commands}, timeout=0.2)
        command = commands.result().payload
        assert isinstance(command, bytes)
        (asked,) = SparkplugPayload.FromString(command).metrics
        assert (asked.name, asked.boolean_value) == (b"Node Control/Rebirth", True)
        await node.publish("spBv1.0/field/NBIRTH/edge", nbirth())
        await node.publish("spBv1.0/field/DBIRTH/edge/truck", dbirth())
        await node.publish("spBv1.0/field/DDATA/edge/truck", data)
        while len(positions := readings_of(await entries_of(redis_url)).positions.latitude_deg) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert positions.tolist() == [41.15, 41.2]
    announced = announced_in(await entries_of(redis_url))
    assert [(tenant, device_id) for _, tenant, device_id in announced] == [("acme", "field.edge.truck")]
