"""What an explanation finds in SQL, and that versions of fences are kept for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from drover.tracking.v1.definition_pb2 import Route, RouteStop
from drover.tracking.v1.event_pb2 import Standing, TrackingEvent
from runtime.partitioned_log import START
from services.tracking import definition_repository
from services.tracking.definition_repository import DefinitionRepository
from services.tracking.events import EVENT_COLUMNS
from services.tracking.explanations import repository as explanation_repository
from services.tracking.explanations.repository import ExplanationRepository
from services.tracking.model import Definition, DefinitionKind, Device
from services.tracking.repository import HistoryRepository
from tests.services.tracking.build import LATE, OK, SECOND, T0, judged, positions, readings
from tests.services.tracking.conftest import rows
from tests.services.tracking.test_repository import FIRST, flush_of

TRUCK = Device(0, "acme", "truck-1", "")
WINDOW = 60 * SECOND
FENCE = DefinitionKind.FENCE


def event(name: str, second: int, *, kind: str = "geofence_entered", of: str = "port", first: str = "", **more: Any):
    """A row of `events`."""
    told = TrackingEvent(event_id=name, amends_event_id=first, observed_at_us=T0 + second * SECOND)
    told.confirmed_at_us = told.observed_at_us + more.get("pending_s", 0) * SECOND
    told.revision = 1 if first else 0
    told.standing = Standing.STANDING_AMENDED if first else Standing.STANDING_TOLD
    values = {
        "event_id": name, "tenant": more.get("tenant", "acme"), "device_id": more.get("device_id", "truck-1"),
        "device_number": 0, "kind": kind, "subject_id": of, "severity": 2, "cause": 1, "revision": told.revision,
        "amends_event_id": first or None, "standing": told.standing, "assumed": 0,
        "observed_at_us": told.observed_at_us, "confirmed_at_us": told.confirmed_at_us, "latitude_deg": None,
        "longitude_deg": None, "body": told.SerializeToString(),
    }  # fmt: skip
    return tuple(values[column] for column in EVENT_COLUMNS)


async def stored(engine: AsyncEngine, seconds: list[int], *, verdicts: list[int] | None = None, told: Any = ()) -> None:
    repository = HistoryRepository(engine)
    await repository.offsets(1)
    fixes = positions(*({"observed_at_us": T0 + second * SECOND} for second in seconds), {"device": 1})
    batch = judged(readings(fixes), position_verdicts=[*(verdicts or [OK] * len(seconds)), OK])
    flush = flush_of([batch], {0: (START, FIRST)}, events={"acme": list(told)} if told else {})
    await repository.write(dataclasses.replace(flush, event_columns=EVENT_COLUMNS))


def times(fixes: list[Any]) -> list[int]:
    return [(fix.observed_at_us - T0) // SECOND for fix in fixes]


async def test_the_fixes_round_a_time(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation_repository, "LEAD", 2)
    monkeypatch.setattr(explanation_repository, "TAIL", 1)
    seconds = [-300, -200, -100, -80, -60, -1, 0, 1, 60, 61, 62]
    verdicts = [LATE, OK, LATE, OK, *[OK] * 7]
    await stored(engine, seconds, verdicts=verdicts)
    looked = await ExplanationRepository(engine).look(TRUCK, "port", T0, WINDOW)
    assert times(looked.shown) == [-60, -1, 0, 1, 60]
    assert (times(looked.lead), times(looked.tail)) == ([-100, -80], [61])
    assert [fix.verdict for fix in looked.lead] == [LATE, OK]
    assert looked.counted_before is not None
    assert looked.first_counted is not None
    assert times([looked.counted_before, looked.first_counted]) == [-200, -200]
    assert (looked.from_us, looked.until_us, looked.cut) == (T0 - WINDOW, T0 + WINDOW, False)
    assert looked.shown[0].accuracy_m != looked.shown[0].accuracy_m, "what the device left out"
    nothing = await ExplanationRepository(engine).look(Device(9, "acme", "new", ""), "port", T0, WINDOW)
    assert (nothing.shown, nothing.counted_before, nothing.first_counted, nothing.events) == ([], None, None, [])


async def test_of_many_fixes_those_nearest(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation_repository, "SHOWN", 6)
    await stored(engine, list(range(-10, 11)))
    looked = await ExplanationRepository(engine).look(TRUCK, "port", T0, WINDOW)
    assert times(looked.shown) == [-2, -1, 0, 1, 2, 3]
    assert (looked.from_us, looked.until_us, looked.cut) == (T0 - 2 * SECOND, T0 + 3 * SECOND, True)
    assert times(looked.lead) == list(range(-10, -2))
    assert times(looked.tail) == list(range(4, 11))


async def test_events_come_with_all_their_revisions(engine: AsyncEngine) -> None:
    await stored(
        engine,
        [-90, 0, 90],
        told=[
            event("before", -200),
            event("limit", 0, kind="excursion_opened"),
            event("other", 0, of="yard"),
            event("whose", 0, device_id="truck-2"),
            event("lost", 7, kind="signal_lost", of=""),
            event("trip", 8, kind="trip_closed", of=""),
            event("dwelt", 5, kind="geofence_dwelt"),
            event("e1", -400),
            event("e2", 10, first="e1"),
            event("slow", -150, kind="geofence_exited", pending_s=100),
            event("after", 200),
        ],
    )
    looked = await ExplanationRepository(engine).look(TRUCK, "port", T0, WINDOW)
    assert {each.event_id for each in looked.events} == {"dwelt", "e1", "e2", "lost", "slow"}
    # `e1` is found as one from before; what it became shows that it is none.
    assert {each.event_id for each in looked.events_before} == {"before", "e1", "e2", "slow"}


async def test_the_newest_versions_of_a_fence_are_kept(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definition_repository, "VERSIONS_KEPT", 3)
    repository = DefinitionRepository(engine)

    async def edit(kind: DefinitionKind, at_us: int, **changes: Any) -> None:
        def change(present: Definition) -> Definition:
            return dataclasses.replace(present, version=present.version + 1, deleted=False, **changes)

        await repository.edit(kind, "acme", "port", change, at_us)

    async def versions() -> list[tuple[int, int, bool, bytes]]:
        return [tuple(each) for each in (await ExplanationRepository(engine).look(TRUCK, "port", T0, 1)).versions]

    await edit(FENCE, T0, body=b"one")
    route = Route(route_id="port", tenant="acme", device_id="truck-1", stops=[RouteStop(stop_id="a", fence_id="port")])
    await edit(DefinitionKind.ROUTE, T0, body=route.SerializeToString(), device_id="truck-1")
    (found,) = (await ExplanationRepository(engine).look(TRUCK, "port", T0, 1)).routes
    assert (found.made_at_us, found.route.route_id, found.route.stops[0].fence_id) == (T0, "port", "port")
    assert not (await ExplanationRepository(engine).look(TRUCK, "yard", T0, 1)).routes
    await repository.edit(FENCE, "acme", "port", lambda _: None, T0 + 1)
    await repository.edit(
        FENCE,
        "acme",
        "port",
        lambda present: dataclasses.replace(present, version=2, deleted=True, body=b""),
        T0 + 2,
    )
    assert await versions() == [(1, T0, False, b"one"), (2, T0 + 2, True, b"")]
    for number in (3, 4, 5):
        await edit(FENCE, T0 + number, body=b"%d" % number)
    assert [version for version, *_ in await versions()] == [3, 4, 5]
    assert (await rows(engine, "SELECT COUNT(*) FROM fence_versions"))[0][0] == 3
