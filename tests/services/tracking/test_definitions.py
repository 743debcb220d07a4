"""How definitions reach the log: each version, every partition, whatever dies in between."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence

import redis.asyncio as redis

from drover.geofence.v1.fence_pb2 import Circle, Fence, Geometry
from drover.tracking.v1.definition_pb2 import DefinitionChange, Proximity, Route, SensorLimit
from runtime.partitioned_log import Append
from runtime.process import Stop
from services.tracking.change import change_of, core_definition
from services.tracking.definitions import DefinitionBook
from services.tracking.directory import Directory
from services.tracking.model import Definition, DefinitionKind, Device
from tests.services.tracking.build import T0
from tests.services.tracking.conftest import until
from tracking_core import definitions as core
from tracking_core.block import EntryKind

VAN, CART = Device(1, "acme", "van", ""), Device(5, "acme", "cart", "")


class FakeStore:
    """One definition."""

    def __init__(self, *unpublished: Definition) -> None:
        self.waiting = list(unpublished)
        self.marked: list[Definition] = []
        self.present = Definition(DefinitionKind.FENCE, "acme", "yard", 0, deleted=True, device_id="", body=b"")

    async def edit(
        self,
        kind: DefinitionKind,
        tenant: str,
        definition_id: str,
        change: Callable[[Definition], Definition | None],
        now_us: int,
    ) -> Definition:
        self.present = change(self.present) or self.present
        self.waiting.append(self.present)
        return self.present

    async def unpublished(self) -> list[Definition]:
        return list(self.waiting)

    async def mark_published(self, published: Sequence[Definition]) -> None:
        self.marked += published
        self.waiting = [each for each in self.waiting if each not in published]


class FakeLog:
    """Remembers; is away while told so."""

    partitions = 3

    def __init__(self) -> None:
        self.entries: list[Append] = []
        self.away = False

    async def append(self, entries: Sequence[Append]) -> list[str]:
        if self.away:
            raise redis.ConnectionError("gone")
        self.entries += entries
        return []

    def changes(self) -> list[tuple[int, str]]:
        assert all(entry.kind is EntryKind.DEFINITION for entry in self.entries)
        return [
            (entry.partition, str(DefinitionChange.FromString(entry.payload).WhichOneof("change")))
            for entry in self.entries
        ]


class FakePipeline:
    def __init__(self, heard: list[tuple[str, bytes]]) -> None:
        self._heard = heard

    def publish(self, channel: str, message: bytes) -> None:
        self._heard.append((channel, message))

    async def execute(self) -> None:
        return None


class FakeRedis:
    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []

    def pipeline(self, *, transaction: bool) -> FakePipeline:
        return FakePipeline(self.heard)


def fence(version: int = 1) -> Definition:
    body = Fence(
        fence_id="yard", tenant="acme", version=version,
        geometry=Geometry(circle=Circle(longitude_deg=1.0, latitude_deg=2.0, radius_m=3.0)),
    )  # fmt: skip
    return Definition(
        DefinitionKind.FENCE, "acme", "yard", version, deleted=False, device_id="", body=body.SerializeToString()
    )


def limit() -> Definition:
    body = SensorLimit(limit_id="cold", tenant="acme", device_id="van", quantity=1, maximum=8.0, version=4)
    return Definition(
        DefinitionKind.LIMIT, "acme", "cold", 4, deleted=False, device_id="van", body=body.SerializeToString()
    )


def proximity() -> Definition:
    body = Proximity(
        proximity_id="near", tenant="acme", name="Near", device_id="van", other_device_id="cart", distance_m=50.0,
        margin_m=0.0, apart_fixes=3, version=2,
    )  # fmt: skip
    return Definition(
        DefinitionKind.PROXIMITY, "acme", "near", 2, deleted=False, device_id="van", body=body.SerializeToString()
    )


def book(store: FakeStore, log: FakeLog, *devices: Device) -> tuple[DefinitionBook, FakeRedis]:
    client = FakeRedis()
    return DefinitionBook(store, Directory(devices), log, client), client  # type: ignore[arg-type]


async def test_an_edit_is_stored_appended_marked_and_hinted_at():
    store, log = FakeStore(), FakeLog()
    made, client = book(store, log)
    edited = await made.edit(DefinitionKind.FENCE, "acme", "yard", lambda _: fence(), T0)
    assert log.changes() == [(0, "fence_put"), (1, "fence_put"), (2, "fence_put")]
    assert store.marked == [edited]
    assert [(channel, DefinitionChange.FromString(body).fence_put.fence_id) for channel, body in client.heard] == [
        ("drover.definitions.acme", "yard")
    ]
    await made.edit(DefinitionKind.FENCE, "acme", "yard", lambda _: None, T0)
    assert len(log.entries) == 3, "nothing new, nothing to append"


async def test_what_a_crash_left_unpublished_is_appended_at_the_start():
    store, log = FakeStore(fence(7)), FakeLog()
    made, _ = book(store, log)
    stop = Stop()
    running = asyncio.create_task(made.run(stop))
    await until(lambda: not store.waiting)
    assert [partition for partition, _ in log.changes()] == [0, 1, 2]
    stop.set()
    await running


async def test_an_edit_while_the_log_is_away_is_appended_when_it_is_back(monkeypatch):
    monkeypatch.setattr("services.tracking.definitions.REPAIR_S", 0.01)
    store, log = FakeStore(), FakeLog()
    made, _ = book(store, log)
    log.away = True
    stop = Stop()
    running = asyncio.create_task(made.run(stop))
    await made.edit(DefinitionKind.FENCE, "acme", "yard", lambda _: fence(), T0)
    assert not store.marked
    log.away = False
    await until(lambda: len(store.marked) == 1)
    stop.set()
    await running


async def test_what_belongs_to_a_device_waits_for_it_and_goes_to_its_partition(monkeypatch):
    monkeypatch.setattr("services.tracking.definitions.REPAIR_S", 0.01)
    store, log = FakeStore(limit()), FakeLog()
    made, _ = book(store, log)
    stop = Stop()
    running = asyncio.create_task(made.run(stop))
    await asyncio.sleep(0.05)
    assert not log.entries
    made._directory.add([VAN])
    made.announced()
    await until(lambda: not store.waiting)
    assert log.changes() == [(0, "limit_deleted"), (1, "limit_put"), (2, "limit_deleted")]
    put = DefinitionChange.FromString(log.entries[1].payload).limit_put
    assert (put.device_number, put.version) == (1, 4)
    ended = DefinitionChange.FromString(log.entries[0].payload).limit_deleted
    assert (ended.tenant, ended.id, ended.version) == ("acme", "cold", 4)
    stop.set()
    await running


async def test_a_proximity_waits_for_both_devices_and_goes_to_every_partition():
    store, log = FakeStore(proximity()), FakeLog()
    made, _ = book(store, log, VAN)
    await made._publish(await store.unpublished())
    assert not log.entries
    made._directory.add([CART])
    await made._publish(await store.unpublished())
    assert log.changes() == [(number, "proximity_put") for number in range(3)]
    put = DefinitionChange.FromString(log.entries[2].payload).proximity_put
    assert (put.device_number, put.other_device_number, put.version) == (1, 5, 2)
    assert not store.waiting


async def test_a_deletion_reaches_every_partition():
    store, log = FakeStore(), FakeLog()
    made, _ = book(store, log)
    await made.edit(
        DefinitionKind.LIMIT, "acme", "cold", lambda _: dataclasses.replace(limit(), deleted=True, body=b""), T0
    )
    assert log.changes() == [(number, "limit_deleted") for number in range(3)]


def test_every_change_is_what_the_engine_is_told():
    put = core_definition(change_of(fence()))
    assert isinstance(put, core.PutFence)
    assert (put.fence.fence_id, put.fence.version) == ("yard", 1)
    bounded = core_definition(change_of(limit(), 1))
    assert bounded == core.PutLimit(core.SensorLimit("acme", "cold", 1, 1, None, 8.0, version=4))
    message = Route(route_id="r", tenant="acme", device_id="van", longitude_deg=[1, 2], latitude_deg=[3, 4], version=2)
    message.stops.add(stop_id="s", longitude_deg=2.0, latitude_deg=4.0, planned_arrival_us=T0)
    message.stops.add(stop_id="t", longitude_deg=2.0, latitude_deg=4.0, service_time_us=5)
    message.stops.add(stop_id="u", longitude_deg=2.0, latitude_deg=4.0, fence_id="yard", arrival_grace_us=0)
    stored = Definition(
        DefinitionKind.ROUTE, "acme", "r", 2, deleted=False, device_id="van", body=message.SerializeToString()
    )
    planned = core_definition(change_of(stored, 1))
    assert isinstance(planned, core.PutRoute)
    assert planned.route.line.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert planned.route.stops == (
        core.RouteStop("s", 2.0, 4.0, T0, 0),
        core.RouteStop("t", 2.0, 4.0, None, 5),
        core.RouteStop("u", 2.0, 4.0, None, 0, "yard", 0),
    )
    assert (planned.route.device, planned.route.version, planned.route.expected_speed_mps) == (1, 2, 13.9)
    assert core_definition(change_of(proximity(), 1, 5)) == core.PutProximity(
        core.Proximity("acme", "near", 1, "van", 5, "cart", 50.0, margin_m=0.0, apart_fixes=3, name="Near", version=2)
    )
    for kind, expected in (
        (DefinitionKind.FENCE, core.DeleteFence("acme", "x", 3)),
        (DefinitionKind.LIMIT, core.DeleteLimit("acme", "x", 3)),
        (DefinitionKind.ROUTE, core.DeleteRoute("acme", "x", 3)),
        (DefinitionKind.PROXIMITY, core.DeleteProximity("acme", "x", 3)),
    ):
        gone = Definition(kind, "acme", "x", 3, deleted=True, device_id="", body=b"")
        assert core_definition(change_of(gone)) == expected
    assert core_definition(DefinitionChange()) is None
