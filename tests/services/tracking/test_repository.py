"""History and definitions in a real SQLite and a real MariaDB."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import read
from runtime.migrations import migrate
from services.tracking.definition_repository import DefinitionRepository
from services.tracking.directory import Directory
from services.tracking.events import EVENT_COLUMNS, PublishedEvent, event_rows, published
from services.tracking.history_rows import Counters, Judged, position_hash, rows_of, verdict_changes
from services.tracking.model import Definition, DefinitionKind, Device, EventFilter, VersionConflict
from services.tracking.repository import Flush, HistoryDivergedError, HistoryRepository
from services.tracking.tables import metadata
from tests.services.tracking.build import (
    DUPLICATE,
    LATE,
    OK,
    SECOND,
    T0,
    judged,
    positions,
    readings,
    sensors,
    tags,
)
from tests.services.tracking.conftest import rows
from tracking_core.columns import PositionColumns, concatenate, take
from tracking_core.engine import Engine
from tracking_core.events import Cause, CoreEvent, EventKind, FenceCrossing, Standing
from tracking_core.settings import EngineSettings
from tracking_core.step_result import VerdictChangeColumns
from tracking_core.verdicts import Verdict

CONFLICTING, JUMP = int(Verdict.CONFLICTING), int(Verdict.IMPLAUSIBLE_JUMP)
ROOT = pathlib.Path(__file__).resolve().parents[3]
DEVICES = [Device(0, "acme", "truck-1", "Truck 1"), Device(1, "bolt", "van", "Vän 🚐")]
DIRECTORY = Directory(DEVICES)
START, FIRST, SECOND_OFFSET = "0-0", "1700000000000-0", "1700000000001-0"


def flush_of(
    batches: Sequence[Judged],
    moves: dict[int, tuple[str, str]],
    devices: Sequence[Device] = (),
    events: dict[str, Sequence[tuple[object, ...]]] | None = None,
) -> Flush:
    counters: Counters = collections.Counter()
    return Flush(
        moves=moves,
        readings=rows_of(batches, DIRECTORY, counters),
        verdict_changes=verdict_changes(batches, DIRECTORY, counters),
        event_columns=("event_id", "tenant", "device_id", "device_number", "kind", "subject_id", "severity", "cause",
                       "revision", "assumed", "observed_at_us", "confirmed_at_us", "latitude_deg", "longitude_deg",
                       "body", "amends_event_id", "standing"),
        events=events or {},
        devices=devices,
        counters=counters,
    )  # fmt: skip


def event(
    event_id: str,
    at_us: int,
    kind: str = "geofence_entered",
    severity: int = 2,
    device: str = "truck-1",
    revision: int = 0,
    amends: str | None = None,
    standing: int = 1,
):
    return (event_id, "acme", device, 0, kind, "port", severity, 1, revision, 0, at_us, at_us, None, None,
            event_id.encode(), amends, standing)  # fmt: skip


async def test_the_migrated_schema_is_the_one_in_tables(engine: AsyncEngine, database_url: str):
    await migrate(database_url, "services.tracking")  # once more changes nothing

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    async with read(engine) as connection:
        assert await connection.run_sync(differences) == []


async def test_every_kind_is_stored_as_received(engine: AsyncEngine):
    repository = HistoryRepository(engine)
    await repository.offsets(1)
    batch = readings(
        positions(
            {
                "latitude_deg": 0.1 + 0.2,
                "longitude_deg": -179.99999999999997,
                "altitude_m": 1.1,
                "speed_mps": 13.371234,
                "heading_deg": 359.9,
                "accuracy_m": 4.2,
                "satellites": 11,
                "sequence": 2**62,
                "sent_at_us": T0 + 7,
            },
            {"device": 0, "observed_at_us": T0 + 1},
        ),
        sensors({"quantity": 1, "value": -18.400000000000002, "probe": 4_000_000_000}),
        tags({"epc": bytes(range(12)), "antenna": 3, "rssi_dbm": -51.5}, {"epc": b"\x00", "observed_at_us": T0 + 1}),
    )
    await repository.write(flush_of([judged(batch)], {0: (START, FIRST)}))
    names = (
        "latitude_deg, longitude_deg, altitude_m, speed_mps, heading_deg, accuracy_m, satellites, sequence, sent_at_us"
    )
    stored = await rows(engine, f"SELECT {names} FROM positions ORDER BY observed_at_us")
    floats = (np.float32(1.1), np.float32(13.371234), np.float32(359.9), np.float32(4.2))
    assert stored[0] == (0.1 + 0.2, -179.99999999999997, *map(float, floats), 11, 2**62, T0 + 7)
    assert stored[1] == (1.5, 2.5, None, None, None, None, None, None, None)
    assert await rows(engine, "SELECT quantity, value, probe, verdict FROM sensor_samples") == [
        (1, -18.400000000000002, 4_000_000_000, OK)
    ]
    assert await rows(engine, "SELECT epc, antenna, rssi_dbm FROM tag_reads ORDER BY observed_at_us") == [
        (bytes(range(12)), 3, -51.5),
        (b"\x00", 1, None),
    ]


async def test_a_verdict_follows_what_came_late(engine: AsyncEngine):
    """Of rows of one time and place the one with that content; also twice in one flush, and of rows in it."""
    repository = HistoryRepository(engine)
    await repository.offsets(1)
    first = positions({"altitude_m": 7.1}, {}, {"observed_at_us": T0 + 1})
    await repository.write(
        flush_of([judged(readings(first), position_verdicts=[OK, CONFLICTING, OK])], {0: (START, FIRST)}, DEVICES)
    )
    late = positions({"observed_at_us": T0 - 1}, {"observed_at_us": T0 + 2})

    def changes(*rows: tuple[PositionColumns, int, int, int]) -> VerdictChangeColumns:
        fixes = concatenate([take(columns, np.array([row])) for columns, row, _, _ in rows])
        verdicts = (np.array([row[-2] for row in rows], np.uint8), np.array([row[-1] for row in rows], np.uint8))
        return VerdictChangeColumns(
            fixes.device, fixes.observed_at_us, position_hash(fixes).view(np.uint64), fixes.latitude_deg,
            fixes.longitude_deg, *verdicts,
        )  # fmt: skip

    changed = judged(readings(late))._replace(
        changes=changes(
            (first, 0, OK, JUMP), (first, 1, CONFLICTING, OK), (first, 0, JUMP, CONFLICTING), (late, 1, OK, JUMP)
        )
    )
    await repository.write(flush_of([changed], {0: (FIRST, SECOND_OFFSET)}))
    stored = await rows(engine, "SELECT observed_at_us, altitude_m, verdict FROM positions ORDER BY 1, 2")
    assert stored == [
        (T0 - 1, None, OK), (T0, None, OK), (T0, float(np.float32(7.1)), CONFLICTING), (T0 + 1, None, OK),
        (T0 + 2, None, JUMP),
    ]  # fmt: skip
    accounts = await repository.accounts("acme")
    assert accounts.verdicts == {OK: 3, CONFLICTING: 1, JUMP: 1}
    assert accounts.counters["positions_read"] == sum(accounts.verdicts.values())


async def test_of_fixes_of_one_time_and_place_the_one_that_the_engine_means_is_changed(engine: AsyncEngine):
    """In one flush all were OK when they came; each that says less than the one before counts in its stead."""
    repository = HistoryRepository(engine)
    await repository.offsets(1)
    tracker = Engine(EngineSettings())
    alike = [{"satellites": count, "accuracy_m": count + 0.3, "altitude_m": -0.0} for count in range(4, 24)]
    tracker.step(readings(positions({"observed_at_us": T0 - SECOND})), T0)
    tracker.step(readings(positions({"observed_at_us": T0 + SECOND})), T0)
    batches, told = [], 0
    for fix in alike:
        batch = readings(positions(fix))
        result = tracker.step(batch, T0)
        told += len(result.verdict_changes.device)
        batches.append(
            judged(batch, position_verdicts=result.position_verdicts.tolist())._replace(changes=result.verdict_changes)
        )
    assert told > 1
    await repository.write(flush_of(batches, {0: (START, FIRST)}, DEVICES))
    stored = await rows(engine, "SELECT satellites, verdict FROM positions WHERE verdict = 1")
    assert len(stored) == 1
    (at_last,) = [
        fix["satellites"] for fix in alike
        if position_hash(positions(fix)).view(np.uint64) == min(position_hash(positions(*alike)).view(np.uint64))
    ]  # fmt: skip
    assert stored == [(at_last, OK)]
    accounts = await repository.accounts("acme")
    assert accounts.verdicts == {OK: 1, CONFLICTING: len(alike) - 1}


async def test_the_documented_view_shows_the_events_that_stand(engine: AsyncEngine):
    def told(number: int, revision: int, standing: Standing) -> PublishedEvent:
        event = CoreEvent(
            EventKind.GEOFENCE_ENTERED, 0, "acme", "truck-1", "yard", 1, T0 + number, T0, Cause.LATE_DATA, revision,
            False, 1.5, 2.5, FenceCrossing("Yard"), standing, T0 + number // 10,
        )  # fmt: skip
        return published(event)

    told_before = [
        told(10, 0, Standing.TOLD),
        told(20, 0, Standing.TOLD), told(21, 1, Standing.AMENDED), told(22, 2, Standing.AMENDED),
        told(30, 0, Standing.TOLD), told(30, 1, Standing.WITHDRAWN),
    ]  # fmt: skip
    repository = HistoryRepository(engine)
    await repository.offsets(1)
    flush = flush_of([], {0: (START, FIRST)}, events=event_rows(told_before))
    await repository.write(dataclasses.replace(flush, event_columns=EVENT_COLUMNS))
    documented = (ROOT / "docs" / "history.md").read_text()
    view = "SELECT" + documented.split("CREATE VIEW standing_events AS\nSELECT")[1].split(";")[0]
    standing = await rows(engine, f"SELECT observed_at_us FROM ({view}) AS standing_events ORDER BY 1")
    assert standing == [(T0 + 10,), (T0 + 22,)]


async def test_accounts_add_up_over_repetitions_inside_and_across_flushes(engine: AsyncEngine):
    repository = HistoryRepository(engine)
    await repository.offsets(2)
    first = readings(positions({}, {"observed_at_us": T0 + SECOND}, {"device": 1}), sensors({}), tags({}))
    again = readings(
        positions({"received_at_us": T0 + 99}, {}, {"observed_at_us": T0 + 2 * SECOND}, {"speed_mps": 1.0}, {}),
        sensors({}, {"value": 5.0}),
        tags({}),
    )
    grown = await repository.write(flush_of([judged(first)], {0: (START, FIRST)}, DEVICES))
    assert grown["acme", "positions_stored"] == 2
    await repository.write(
        # The engine has recognised the last as a repetition; the first two only SQL remembers; the fourth says more.
        flush_of([judged(again, position_verdicts=[OK, OK, OK, LATE, DUPLICATE])], {0: (FIRST, SECOND_OFFSET)})
    )
    accounts = await repository.accounts("acme")
    assert accounts.counters | {} == {
        **accounts.counters,
        "positions_read": 7, "positions_stored": 4, "positions_repeated": 3,
        "sensors_read": 3, "sensors_stored": 2, "sensors_repeated": 1,
        "tags_read": 2, "tags_stored": 1, "tags_repeated": 1,
    }  # fmt: skip
    assert accounts.verdicts == {OK: 3, LATE: 1, DUPLICATE: 3}
    assert (await repository.accounts("bolt")).counters["positions_stored"] == 1
    assert (await repository.accounts("nobody")).counters == {}
    assert await rows(engine, "SELECT COUNT(*) FROM positions") == [(5,)]
    assert (await repository.offsets(2))[0].log_offset == SECOND_OFFSET
    assert (await repository.offsets(2))[1].log_offset == START
    assert sorted(await repository.devices()) == DEVICES


async def test_a_flush_is_refused_whole_when_another_writer_was_there(engine: AsyncEngine):
    repository = HistoryRepository(engine)
    await repository.offsets(2)
    batch = [judged(readings(positions({})))]
    await repository.write(flush_of(batch, {0: (START, FIRST)}))
    with pytest.raises(HistoryDivergedError, match="partition 0"):
        await repository.write(
            flush_of([judged(readings(reads=tags({})))], {1: (START, FIRST), 0: (START, SECOND_OFFSET)})
        )
    assert await rows(engine, "SELECT COUNT(*) FROM tag_reads") == [(0,)]
    assert (await repository.offsets(2))[1].log_offset == START


async def test_large_flushes_go_in_several_statements(engine: AsyncEngine):
    repository = HistoryRepository(engine)
    await repository.offsets(1)
    count = 10_000
    fixes = positions(*({"observed_at_us": T0 + index // 2} for index in range(count)))
    grown = await repository.write(flush_of([judged(readings(fixes))], {0: (START, FIRST)}))
    assert grown["acme", "positions_stored"] == count // 2
    assert grown["acme", "positions_repeated"] == count // 2


async def test_track_pages_by_time(engine: AsyncEngine):
    repository = HistoryRepository(engine)
    await repository.offsets(1)
    fixes = positions(
        *({"observed_at_us": T0 + second * SECOND, "speed_mps": second} for second in range(6)),
        {"observed_at_us": T0, "speed_mps": 99.0},
        {"device": 1, "observed_at_us": T0},
    )
    verdicts = [OK, OK, LATE, OK, OK, OK, OK, OK]
    await repository.write(flush_of([judged(readings(fixes), position_verdicts=verdicts)], {0: (START, FIRST)}))
    seen: list[tuple[int, int]] = []
    after: tuple[int, int] | None = None
    while page := await repository.track(0, T0, T0 + 5 * SECOND, all_verdicts=False, after=after, limit=2):
        seen += [(point.observed_at_us, point.verdict) for point in page]
        after = page[-1].observed_at_us, page[-1].content_hash
    assert seen == [(T0, OK), (T0, OK), (T0 + SECOND, OK), (T0 + 3 * SECOND, OK), (T0 + 4 * SECOND, OK)]
    every = await repository.track(0, T0 + SECOND, 0, all_verdicts=True, after=None, limit=100)
    assert [point.verdict for point in every] == [OK, LATE, OK, OK, OK]


async def test_events_page_newest_first_and_filter(engine: AsyncEngine):
    repository = HistoryRepository(engine)
    await repository.offsets(1)
    made = [
        event("e1", T0),
        event("e2", T0 + SECOND),
        event("e3", T0 + SECOND, kind="tag_arrived", severity=1),
        event("e4", T0 + 2 * SECOND, device="truck-2"),
    ]
    grown = await repository.write(flush_of([], {0: (START, FIRST)}, events={"acme": made}))
    assert grown["acme", "events"] == 4

    async def ids(limit: int = 9, before: tuple[int, str] | None = None, **wanted: object) -> list[str]:
        found = await repository.events(EventFilter("acme", **wanted), before=before, limit=limit)  # type: ignore[arg-type]
        return [each.event_id for each in found]

    assert await ids() == ["e4", "e3", "e2", "e1"]
    assert await ids(2) == ["e4", "e3"]
    assert await ids(2, (T0 + SECOND, "e3")) == ["e2", "e1"]
    assert await ids(alerts_only=True) == ["e4", "e2", "e1"]
    assert await ids(kind="tag_arrived") == ["e3"]
    assert await ids(device_id="truck-1", from_us=T0 + 1) == ["e3", "e2"]
    assert await ids(until_us=T0 + SECOND) == ["e1"]
    assert await repository.events(EventFilter("bolt"), before=None, limit=9) == []


async def test_events_that_stand(engine: AsyncEngine):
    """Of each event the last revision; nothing of one that was withdrawn."""
    repository = HistoryRepository(engine)
    await repository.offsets(1)
    made = [
        event("kept", T0),
        event("amended", T0 + SECOND),
        event("amended-1", T0 + 2 * SECOND, revision=1, amends="amended", standing=2),
        event("gone", T0 + 3 * SECOND),
        event("gone-1", T0 + 3 * SECOND, revision=1, amends="gone", standing=3),
        event("back", T0 + 4 * SECOND),
        event("back-1", T0 + 4 * SECOND, revision=1, amends="back", standing=3),
        event("back-2", T0 + 4 * SECOND, revision=2, amends="back", standing=2),
    ]
    await repository.write(flush_of([], {0: (START, FIRST)}, events={"acme": made}))
    found = await repository.events(EventFilter("acme", standing_only=True), before=None, limit=9)
    assert [each.event_id for each in found] == ["back-2", "amended-1", "kept"]


def put(body: bytes, device_id: str = ""):
    def change(present: Definition) -> Definition:
        return dataclasses.replace(
            present,
            version=present.version + 1,
            deleted=False,
            device_id=device_id,
            body=body + b"%d" % present.version,
        )

    return change


async def test_definitions_keep_counting_their_versions_past_a_deletion(engine: AsyncEngine):
    repository = DefinitionRepository(engine)
    fence = DefinitionKind.FENCE
    assert await repository.get(fence, "acme", "Port") is None
    first = await repository.edit(fence, "acme", "Port", put(b"one"), T0)
    assert (first.version, first.body) == (1, b"one0")
    assert await repository.get(fence, "acme", "port") is None, "ids differ by case"
    assert await repository.get(fence, "bolt", "Port") is None
    assert [each.version for each in await repository.unpublished()] == [1]
    await repository.mark_published([first])
    assert await repository.unpublished() == []
    gone = await repository.edit(
        fence, "acme", "Port", lambda present: dataclasses.replace(present, version=2, deleted=True, body=b""), T0
    )
    assert gone.deleted
    assert await repository.get(fence, "acme", "Port") is None
    assert await repository.every() == []
    await repository.mark_published([first])
    assert [each.version for each in await repository.unpublished()] == [2], "an older version says nothing of it"
    assert (await repository.edit(fence, "acme", "Port", put(b"three"), T0)).version == 3
    assert await repository.edit(fence, "acme", "Port", lambda _: None, T0) == await repository.get(
        fence, "acme", "Port"
    )


async def test_a_refused_edit_leaves_nothing(engine: AsyncEngine):
    repository = DefinitionRepository(engine)

    def refuse(present: Definition) -> Definition:
        raise VersionConflict(present.definition_id, 7, present.version)

    with pytest.raises(VersionConflict, match="expected version 7, but it does not exist"):
        await repository.edit(DefinitionKind.FENCE, "acme", "port", refuse, T0)
    assert await rows(engine, "SELECT COUNT(*) FROM definitions") == [(0,)]


async def test_edits_at_once_come_one_after_the_other(engine: AsyncEngine):
    repository = DefinitionRepository(engine)
    edits = [repository.edit(DefinitionKind.FENCE, "acme", "port", put(b"x"), T0) for _ in range(6)]
    assert sorted(each.version for each in await asyncio.gather(*edits)) == [1, 2, 3, 4, 5, 6]


async def test_lists_page_by_id(engine: AsyncEngine):
    repository = DefinitionRepository(engine)
    for name in ("b", "a", "C", "d"):
        await repository.edit(DefinitionKind.FENCE, "acme", name, put(b""), T0)
    await repository.edit(DefinitionKind.ROUTE, "acme", "route", put(b"", "truck-1"), T0)
    listed = await repository.list(DefinitionKind.FENCE, "acme", after="", limit=3)
    assert [each.definition_id for each in listed] == ["C", "a", "b"]
    assert [each.definition_id for each in await repository.list(DefinitionKind.FENCE, "acme", after="b", limit=3)] == [
        "d"
    ]


async def test_trimming_is_remembered(engine: AsyncEngine):
    repository = HistoryRepository(engine)
    await repository.offsets(2)
    await repository.mark_trimmed(1, FIRST)
    offsets = await repository.offsets(2)
    assert (offsets[0].trimmed_before, offsets[1].trimmed_before) == (START, FIRST)
