"""Every message becomes readings in the log, or a dead letter with a reason; nobody is told before it is durable."""

from __future__ import annotations

import asyncio
import pathlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.devices.device_name import DeviceName
from ingest.devices.registry import AutoProvisioning, RegistryUnavailableError
from ingest.messages import from_pairs
from runtime import redis_client
from runtime.partitioned_log import START, RedisStreamLog
from tests.ingest.readings import batch, position, sensor, tag
from tests.ingest.rig import NOW_US, FakeLog, announced_in, readings_of, running
from tracking_core.columns import count

TRUCK = "drover/v1/acme/truck"
FIX_JSON = b'{"observed_at_us": 1700000000000000, "latitude_deg": 1, "longitude_deg": 2}'
LOCATION = b'{"_type": "location", "lat": 52.3, "lon": 10, "tst": 1440395361, "batt": 96}'


async def test_all_formats_in_one_read(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    async with running(tmp_path, log) as rig:
        truck, phone = await rig.provision("truck", "jane.phone")
        await rig.send(
            (f"{TRUCK}/position", position(sequence=1).SerializeToString()),
            (f"{TRUCK}/sensor", sensor(sequence=2).SerializeToString()),
            (f"{TRUCK}/tag", tag(sequence=3).SerializeToString()),
            (f"{TRUCK}/batch", batch(position(sequence=4), sensor(sequence=5), tag(sequence=6)).SerializeToString()),
            (f"{TRUCK}/json", FIX_JSON),
            ("owntracks/jane/phone", LOCATION),
            ("owntracks/jane/phone", b'{"_type": "lwt", "tst": "1440395361"}'),
        )
        readings = log.readings
        assert readings.positions.sequence[readings.positions.device == truck].tolist() == [1, 4, -1]
        assert readings.sensors.sequence[readings.sensors.device == truck].tolist() == [2, 5]
        assert readings.tags.sequence.tolist() == [3, 6]
        assert readings.positions.observed_at_us[readings.positions.device == phone].tolist() == [1440395361000000]
        assert readings.sensors.value[readings.sensors.device == phone].tolist() == [0.96]
        assert set(readings.positions.received_at_us.tolist()) == {NOW_US}
        assert await rig.letters("acme", "") == []


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (f"{TRUCK}/position", b"garbage", "malformed"),
        (f"{TRUCK}/position", position().SerializeToString()[:-3], "truncated"),
        (f"{TRUCK}/position", b"", "empty"),
        (f"{TRUCK}/position", position(latitude_deg=float("nan")).SerializeToString(), "not_finite"),
        (f"{TRUCK}/position", position(latitude_deg=91).SerializeToString(), "coordinate_out_of_range"),
        (f"{TRUCK}/position", position(1).SerializeToString(), "clock_unset"),
        (f"{TRUCK}/position", position(4_102_444_800_000_000).SerializeToString(), "clock_future"),
        (f"{TRUCK}/tag", tag(epc=bytes(17)).SerializeToString(), "bad_epc"),
        (f"{TRUCK}/batch", b"\x0a\x05abc", "truncated"),
        (f"{TRUCK}/batch", b"x" * 70_000, "too_large"),
        (f"{TRUCK}/json", b"{", "malformed"),
        (f"{TRUCK}/json", FIX_JSON.replace(b"1,", b"91,"), "coordinate_out_of_range"),
        ("drover/v1/acme/stranger/position", position().SerializeToString(), "unknown_device"),
        ("drover/v1/acme/tr uck/position", position().SerializeToString(), "bad_device_id"),
        ("owntracks/jane/phone", LOCATION, "unknown_device"),
    ],
)
async def test_bad_input_is_kept_with_a_reason_and_stops_nothing(
    tmp_path: pathlib.Path, topic: str, payload: bytes, reason: str
) -> None:
    log = FakeLog()
    async with running(tmp_path, log, max_payload_bytes=66_000) as rig:
        await rig.provision("truck")
        sound = (f"{TRUCK}/position", position().SerializeToString())
        await rig.send(sound, (topic, payload), sound)
        assert count(log.readings) == 2
        (letter,) = await rig.letters()
        assert (letter.reason, letter.topic, letter.source, letter.received_at_us) == (reason, topic, "mqtt", NOW_US)
        assert letter.payload == payload[: 64 * 1024]
        assert letter.payload_bytes == len(payload)
        assert letter.detail


async def test_a_topic_that_names_no_tenant(tmp_path: pathlib.Path) -> None:
    async with running(tmp_path, FakeLog()) as rig:
        await rig.send(("elsewhere", b"x"))
        assert await rig.letters() == []
        assert [letter.reason for letter in await rig.letters("")] == ["unknown_topic"]


async def test_the_sound_part_of_a_batch_is_taken(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    bad = [position(1, sequence=8), sensor(1), position(latitude_deg=91, sequence=9)]
    whole = batch(*(position(sequence=n) for n in range(5)), *bad)
    async with running(tmp_path, log) as rig:
        await rig.provision("truck")
        await rig.send((f"{TRUCK}/batch", whole.SerializeToString()))
        assert log.readings.positions.sequence.tolist() == list(range(5))
        letters = {letter.reason: ReadingBatch.FromString(letter.payload) for letter in await rig.letters()}
        assert letters == {"clock_unset": batch(*bad[:2]), "coordinate_out_of_range": batch(bad[2])}


async def test_a_batch_of_an_unknown_device_is_kept_whole_however_long(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    whole = batch(*(position(sequence=n, altitude_m=1, speed_mps=2) for n in range(5_000)))
    async with running(tmp_path, log) as rig:
        await rig.send((f"{TRUCK}/batch", whole.SerializeToString()))
        letters = await rig.letters()
        assert len(letters) > 1
        await rig.provision("truck")
        for letter in letters:
            assert letter.payload_bytes == len(letter.payload)
            outcome = await rig.pipeline.replay(letter)
            assert outcome.refusals == []
        assert sorted(log.readings.positions.sequence.tolist()) == list(range(5_000))


async def test_a_letter_is_replayed_once_its_device_is_provisioned(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    async with running(tmp_path, log) as rig:
        await rig.send(("owntracks/jane/phone", LOCATION))
        (letter,) = await rig.letters()
        again = await rig.pipeline.replay(letter)
        assert (again.accepted, again.refusals[0].reason.slug) == (0, "unknown_device")
        assert len(await rig.letters()) == 1
        await rig.provision("jane.phone")
        assert (await rig.pipeline.replay(letter)).accepted == 2
        assert log.readings.positions.received_at_us.tolist() == [NOW_US]


async def test_provisioning_on_first_sight_only_where_it_is_allowed(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    fix = position().SerializeToString()
    async with running(tmp_path, log, auto=AutoProvisioning(enabled=True, tenants=frozenset({"acme"}))) as rig:
        await rig.send(
            *((f"drover/v1/acme/truck-{n}/position", fix) for n in range(5)), ("drover/v1/evil/x/position", fix)
        )
        assert sorted(log.readings.positions.device.tolist()) == [0, 1, 2, 3, 4]
        assert len(announced_in(log.entries)) == 5
        assert [letter.reason for letter in await rig.letters("evil")] == ["unknown_device"]


async def test_nobody_is_told_while_the_log_or_the_letters_are_away(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    async with running(tmp_path, log) as rig:
        await rig.provision("truck")
        log.always = RedisConnectionError("gone")
        sending = asyncio.create_task(rig.send((f"{TRUCK}/position", position().SerializeToString())))
        await asyncio.sleep(0.1)
        assert not sending.done()
        log.always = None
        await asyncio.wait_for(sending, 5)
        async with rig.engine.connect() as other:
            await other.exec_driver_sql("ROLLBACK")
            await other.exec_driver_sql("BEGIN IMMEDIATE")
            bad = asyncio.create_task(rig.send((f"{TRUCK}/position", b"garbage")))
            good = asyncio.create_task(rig.send((f"{TRUCK}/position", position().SerializeToString())))
            await asyncio.wait_for(good, 5)
            assert not bad.done()
        await asyncio.wait_for(bad, 20)
        assert len(await rig.letters()) == 1


async def test_known_devices_do_not_wait_for_the_register(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    fix = position().SerializeToString()
    async with running(tmp_path, log, auto=AutoProvisioning(enabled=True)) as rig:
        await rig.send((f"{TRUCK}/position", fix))
        async with rig.engine.connect() as other:
            await other.exec_driver_sql("ROLLBACK")
            await other.exec_driver_sql("BEGIN IMMEDIATE")
            mixed = asyncio.create_task(rig.send(("drover/v1/acme/new/position", fix), (f"{TRUCK}/position", fix)))
            await asyncio.wait_for(rig.send((f"{TRUCK}/position", fix)), 5)
            assert log.readings.positions.device.tolist() == [0, 0, 0]
            assert not mixed.done()
        await asyncio.wait_for(mixed, 20)
        assert log.readings.positions.device.tolist() == [0, 0, 0, 1]


async def test_a_device_keeps_its_order_while_its_first_message_waits(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FakeLog()
    async with running(tmp_path, log, auto=AutoProvisioning(enabled=True)) as rig:
        resolve = rig.registry.resolve
        pauses = iter([0.05, 0.0, 0.02])

        async def slowly(names: Any) -> Any:
            await asyncio.sleep(next(pauses, 0.0))
            return await resolve(names)

        monkeypatch.setattr(rig.registry, "resolve", slowly)
        sending: list[asyncio.Task[None]] = []
        for n in range(200):
            topics = [f"drover/v1/acme/truck-{device}/position" for device in range(n % 5 + 1)]
            fix = position(sequence=n).SerializeToString()
            sending.append(asyncio.create_task(rig.send(*((topic, fix) for topic in topics))))
            await asyncio.sleep(0.001 if n % 3 else 0)
        await asyncio.gather(*sending)
        positions = log.readings.positions
        for device in range(5):
            number = (await rig.registry.get(DeviceName("acme", f"truck-{device}"))).number
            assert positions.sequence[positions.device == number].tolist() == [n for n in range(200) if n % 5 >= device]


async def test_the_register_is_waited_for_and_given_up(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    fix = position().SerializeToString()
    async with running(tmp_path, log) as rig:
        await rig.provision("truck")
        async with rig.engine.connect() as other:
            await other.exec_driver_sql("ALTER TABLE devices RENAME TO away")
            await other.commit()
            sending = asyncio.create_task(rig.send(("drover/v1/acme/new/position", fix)))
            await asyncio.sleep(0.2)
            assert not sending.done()
            assert rig.registry.wrong is not None
            await other.exec_driver_sql("ALTER TABLE away RENAME TO devices")
            await other.commit()
            await asyncio.wait_for(sending, 5)
            assert rig.registry.wrong is None
            await other.exec_driver_sql("ALTER TABLE devices RENAME TO away")
            await other.commit()
        sending = asyncio.create_task(rig.send(("drover/v1/acme/newer/position", fix)))
        await asyncio.sleep(0.1)
        rig.registry.close()
        with pytest.raises(RegistryUnavailableError):
            await sending


_PAYLOADS: list[bytes] = [
    b"", b"garbage", FIX_JSON, LOCATION, b'{"_type": "lwt"}', position().SerializeToString(),
    batch(position(), tag()).SerializeToString(), batch(position(), sensor(1)).SerializeToString(),
]  # fmt: skip
_TOPICS = [f"{TRUCK}/{kind}" for kind in ("position", "sensor", "tag", "batch", "json", "cmd")] + [
    "drover/v1/acme/stranger/batch", "owntracks/jane/phone", "", "a/b", "drover/v1/a b/c/json",
]  # fmt: skip


_PAIR = st.tuples(
    st.sampled_from(_TOPICS).map(str.encode) | st.binary(max_size=30),
    st.sampled_from(_PAYLOADS) | st.binary(max_size=80),
)


@given(st.lists(_PAIR, max_size=12))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_messages_give_readings_or_reasons(tmp_path: pathlib.Path, pairs: list[tuple[bytes, bytes]]) -> None:
    log = FakeLog()
    async with running(tmp_path, log) as rig:
        await rig.provision("truck", "jane.phone")
        before = await rig.dead_letters.count()
        messages = from_pairs(pairs, NOW_US, "mqtt")
        await rig.pipeline.accept(messages)
        taken = count(log.readings)
        letters = await rig.dead_letters.count() - before
        ignored = sum(payload == b'{"_type": "lwt"}' for topic, payload in pairs if topic == b"owntracks/jane/phone")
        assert taken + letters >= len(pairs) - ignored
        # One at a time gives the same readings as all at once.
        singly = FakeLog()
        async with running(tmp_path, singly) as other:
            for pair in pairs:
                await other.pipeline.accept(from_pairs([pair], NOW_US, "mqtt"))
        assert _contents(singly.readings) == _contents(log.readings)


def _contents(readings: Any) -> list[list[bytes]]:
    return [sorted(b"|".join(value.tobytes() for value in row) for row in zip(*kind, strict=True)) for kind in readings]


@pytest.mark.server
async def test_readings_are_in_a_real_log_when_accept_returns(tmp_path: pathlib.Path, redis_url: str) -> None:
    async with redis_client.connect(redis_url) as client:
        log = RedisStreamLog(client, 3)
        async with running(tmp_path, log, auto=AutoProvisioning(enabled=True)) as rig:
            for n in range(20):
                fixes = (position(sequence=n).SerializeToString() for _ in range(7))
                await rig.send(*((f"drover/v1/acme/truck-{device}/position", fix) for device, fix in enumerate(fixes)))
                entries = await log.read_from({0: START, 1: START, 2: START}, max_entries=10_000, wait_ms=0)
                positions = readings_of(entries).positions
                assert len(positions.device) == 7 * (n + 1)
            for device in range(7):
                assert positions.sequence[positions.device == device].tolist() == list(range(20))
            names = {number: DeviceName(tenant, name) for number, tenant, name in announced_in(entries)}
            assert sorted(names) == list(range(7))
