"""The SQL, on SQLite and on a real MariaDB: what is stored comes back, lookups find what they should, versions hold."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import create_engine, read
from runtime.migrations import migrate
from services.shipment import lifecycle, tables
from services.shipment.commands import ListShipments, PageKey
from services.shipment.concern import TAG_GRACE_US
from services.shipment.events import Event
from services.shipment.model import CORRECTION_GRACE_US, Shipment, ShipmentChanged, ShipmentId, Status
from services.shipment.ports import DefinitionAction
from services.shipment.repository import SqlStorage
from services.shipment.rows import rows_of
from tests.services.shipment.examples import (
    DEVICE,
    EPC,
    NOW_US,
    TENANT,
    arrived,
    closed,
    departed,
    entered,
    exited,
    missed,
    opened,
    shipment,
    stop,
)

S1 = ShipmentId("s-1")


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    await migrate(database_url, "services.shipment")
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def storage(engine: AsyncEngine) -> SqlStorage:
    return SqlStorage(engine)


async def add(storage: SqlStorage, *shipments: Shipment) -> None:
    async with storage.write() as work:
        for each in shipments:
            await work.shipments.add(each)


async def get(storage: SqlStorage, shipment_id: ShipmentId = S1) -> Shipment | None:
    async with storage.read() as work:
        return await work.shipments.get(TENANT, shipment_id)


async def save(storage: SqlStorage, before: Shipment, after: Shipment) -> None:
    async with storage.write() as work:
        await work.shipments.save(before, after)


def moved_by(before: Shipment, *events: Event) -> Shipment:
    after = before
    for event in events:
        after = lifecycle.apply(after, event).shipment
    return dataclasses.replace(after, version=before.version + 1, updated_at_us=before.updated_at_us + 1)


async def test_the_migrations_make_the_tables_that_the_code_expects(engine: AsyncEngine) -> None:
    def is_other_type(*types: Any) -> bool | None:
        # MariaDB calls a long LargeBinary MEDIUMBLOB; for everything else alembic's own judgement holds.
        return False if isinstance(types[-1], sa.LargeBinary) else None

    def differences(connection: sa.Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": is_other_type})
        return list(compare_metadata(context, tables.metadata))

    async with read(engine) as connection:
        assert await connection.run_sync(differences) == []


async def test_what_is_stored_comes_back(storage: SqlStorage) -> None:
    assert await get(storage) is None
    plain = shipment(limits=(), handling_units=(), route_longitude_deg=(), route_latitude_deg=(), shipment_id="plain")
    named = (stop("a", name="Zürich 🚚", fence_id="port", planned_arrival_us=5, service_time_us=7), stop("b"))
    await add(storage, shipment(), plain, shipment(shipment_id="S-1", stops=named))
    assert await get(storage) == shipment()
    assert await get(storage, ShipmentId("plain")) == plain
    assert await get(storage, ShipmentId("S-1")) == shipment(shipment_id="S-1", stops=named)
    async with storage.read() as work:
        assert await work.shipments.get("other", S1) is None


async def test_two_who_add_the_same(storage: SqlStorage) -> None:
    await add(storage, shipment())
    with pytest.raises(ShipmentChanged):
        await add(storage, shipment(reference="other"))
    assert await get(storage) == shipment()


async def test_a_whole_story_is_stored_change_by_change(storage: SqlStorage) -> None:
    now = shipment()
    await add(storage, now)
    story: list[Event] = [
        exited("utrecht", 1), arrived(2, "a"), arrived(2, "b"), departed(3, "a"), opened(4), missed("arnhem", 4),
        entered("arnhem", 5), missed("arnhem", 4, 1, withdrawn=True), missed("zwolle", 6),
        closed(4, 6), exited("arnhem", 7), opened(8), entered("arnhem", 9),
        entered("zwolle", 7), entered("zwolle", 7, revision=1, withdrawn=True, told_at_us=7), entered("zwolle", 8),
    ]  # fmt: skip
    for event in story:
        following = moved_by(now, event)
        await save(storage, now, following)
        now = following
        assert await get(storage) == now
    assert now.status is Status.DELIVERED
    assert [each.missed_at_us for each in now.stops] == [None, None, 6]
    assert now.stops[1].departed_at_us == 7, "what came after delivery does not count"
    assert len(now.crossings) == 6, "unless the delivery should be withdrawn"


async def test_a_stale_writer_is_refused_and_leaves_nothing(storage: SqlStorage) -> None:
    begun = shipment()
    await add(storage, begun)
    first = moved_by(begun, exited("utrecht", 1))
    await save(storage, begun, first)
    with pytest.raises(ShipmentChanged):
        await save(storage, begun, moved_by(begun, entered("arnhem", 2)))
    assert await get(storage) == first


async def concerned(storage: SqlStorage, event: Event) -> list[str]:
    async with storage.read() as work:
        return list((await work.shipments.concerned_by([event])).get(event.event_id, ()))


async def test_events_find_the_shipments_they_concern(storage: SqlStorage) -> None:
    begun = shipment()
    port = (stop("a", fence_id="port"), stop("b"))
    await add(
        storage,
        begun,
        shipment(shipment_id="s-2", stops=port),
        shipment(shipment_id="s-3", stops=port),
        shipment(shipment_id="s-4", stops=port, device_id="other"),
        shipment(shipment_id="s-5", stops=port, tenant="other"),
    )
    assert await concerned(storage, entered("utrecht", 1)) == ["s-1"]
    assert await concerned(storage, exited("", 1, fence_id="port")) == ["s-2", "s-3"]
    assert await concerned(storage, exited("", 1, fence_id="port", device_id="other")) == ["s-4"]
    assert await concerned(storage, exited("", 1, fence_id="PORT")) == []
    assert await concerned(storage, exited("", 1, fence_id="port", tenant="other")) == ["s-5"]
    assert await concerned(storage, arrived(1)) == ["s-1", "s-2", "s-3", "s-4"]
    assert await concerned(storage, arrived(1, epc=EPC[:-1])) == []
    assert await concerned(storage, opened(1, limit_id="shipment:s-3:1")) == ["s-3"]
    assert await concerned(storage, closed(1, 2)) == ["s-1"]
    assert await concerned(storage, missed("arnhem", 1)) == ["s-1"]
    assert await concerned(storage, missed("a", 1, route_id="s-4", device_id="other")) == ["s-4"]
    assert await concerned(storage, missed("a", 1, route_id="s-4")) == [], "somebody else's vehicle"
    assert await concerned(storage, missed("a", 1, route_id="s-5")) == [], "somebody else's shipment"
    assert await concerned(storage, missed("a", 1, route_id="a-tour")) == []

    delivered = moved_by(begun, entered("zwolle", 100))
    await save(storage, begun, delivered)
    assert await concerned(storage, exited("arnhem", 100)) == ["s-1"], "older news still counts"
    assert await concerned(storage, exited("arnhem", 100 + CORRECTION_GRACE_US)) == ["s-1"], "it may be withdrawn"
    assert await concerned(storage, exited("arnhem", 101 + CORRECTION_GRACE_US)) == []
    moved = exited("arnhem", 101 + CORRECTION_GRACE_US, revision=1, told_at_us=100)
    assert await concerned(storage, moved) == ["s-1"]
    assert "s-1" in await concerned(storage, arrived(100 + TAG_GRACE_US))
    assert "s-1" not in await concerned(storage, arrived(101 + TAG_GRACE_US))
    assert await concerned(storage, closed(1, 200)) == ["s-1"]

    second = shipment(shipment_id="s-2", stops=port)
    cancelled = lifecycle.cancel(second, "", NOW_US)
    await save(storage, second, dataclasses.replace(cancelled, version=2))
    assert await concerned(storage, exited("", 1, fence_id="port")) == ["s-3"]


async def test_events_asked_for_together_find_each_their_own(storage: SqlStorage) -> None:
    port = (stop("a", fence_id="port"), stop("b"))
    ended = shipment(shipment_id="s-3", stops=port, handling_units=())
    await add(
        storage,
        shipment(handling_units=()),
        shipment(shipment_id="s-2", stops=port, device_id="d-2"),
        ended,
        shipment(shipment_id="s-2", stops=port, device_id="d-2", tenant="other"),
    )
    await save(storage, ended, moved_by(ended, entered("b", 50, fence_id="shipment:s-3:b")))
    expected = [
        (entered("utrecht", 1), ["s-1"]),
        (exited("", 40, fence_id="port"), ["s-3"]),
        (exited("", 51 + CORRECTION_GRACE_US, fence_id="port"), []),
        (exited("", 60, fence_id="port", device_id="d-2"), ["s-2"]),
        (exited("utrecht", 60, device_id="d-2"), []),
        (exited("", 60, fence_id="port", device_id="d-2", tenant="other"), ["s-2"]),
        (arrived(60), ["s-2"]),
        (closed(1, 2), ["s-1"]),
        (opened(1, limit_id="shipment:s-3:1"), ["s-3"]),
        (missed("b", 1, route_id="s-3"), ["s-3"]),
    ]
    async with storage.read() as work:
        found = await work.shipments.concerned_by([event for event, _ in expected])
    assert [(event, list(found.get(event.event_id, ()))) for event, _ in expected] == expected
    assert len(found) == 8


async def test_the_lookup_of_a_crossing_uses_the_index(engine: AsyncEngine, storage: SqlStorage) -> None:
    """Every event of every device asks; a table scan would show only in production."""
    await add(storage, *(shipment(shipment_id=f"s-{number}", device_id=f"d-{number}") for number in range(50)))
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    sa.event.listen(engine.sync_engine, "before_cursor_execute", note)
    await concerned(storage, entered("utrecht", 1, device_id="d-7"))
    sa.event.remove(engine.sync_engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    async with read(engine) as connection:
        plan = (await connection.exec_driver_sql(explain + statements[0][0], statements[0][1])).all()
    assert "shipments_of_device" in str(plan), plan


async def test_pages_newest_first(storage: SqlStorage) -> None:
    made = [
        dataclasses.replace(shipment(shipment_id=f"s-{number}", device_id=f"d-{number % 2}"), created_at_us=number // 3)
        for number in range(10)
    ]
    cancelled = dataclasses.replace(lifecycle.cancel(made[4], "", NOW_US), version=2)
    await add(storage, *made, shipment(tenant="other"))
    await save(storage, made[4], cancelled)

    async def pages(limit: int, **fields: Any) -> list[str]:
        found: list[str] = []
        query = dataclasses.replace(ListShipments(TENANT, frozenset(), "", None, limit), **fields)
        async with storage.read() as work:
            while page := await work.shipments.page(query):
                assert len(page) <= limit
                found += [each.shipment_id for each in page]
                query = dataclasses.replace(query, after=PageKey(page[-1].created_at_us, page[-1].shipment_id))
        return found

    newest_first = ["s-9", "s-8", "s-7", "s-6", "s-5", "s-4", "s-3", "s-2", "s-1", "s-0"]
    for limit in (1, 2, 3, 100):
        assert await pages(limit) == newest_first
    assert await pages(2, device_id="d-0") == ["s-8", "s-6", "s-4", "s-2", "s-0"]
    assert await pages(2, statuses=frozenset({Status.CANCELLED, Status.DELIVERED})) == ["s-4"]
    assert await pages(3, statuses=frozenset({Status.PLANNED}), device_id="d-0") == ["s-8", "s-6", "s-2", "s-0"]
    async with storage.read() as work:
        page = await work.shipments.page(ListShipments(TENANT, frozenset(), "", None, 100))
    stored = {each.shipment_id: each for each in made} | {ShipmentId("s-4"): cancelled}
    assert page == [stored[each.shipment_id] for each in page], "with all that belongs to each"


async def test_the_inbox_takes_an_event_once_and_only_with_its_transaction(storage: SqlStorage) -> None:
    async def take(*event_ids: str, fail: bool = False) -> set[str]:
        async with storage.write() as work:
            taken = await work.inbox.take(event_ids, 100)
            if fail:
                raise ZeroDivisionError
            return taken

    with pytest.raises(ZeroDivisionError):
        await take("a", fail=True)
    assert [await take("a", "b"), await take("b", "c"), await take("a"), await take("A")] == [
        {"a", "b"},
        {"c"},
        set(),
        {"A"},
    ]
    async with storage.write() as work:
        assert await work.inbox.forget(100) == 0
        assert await work.inbox.forget(101) == 4
    assert await take("a") == {"a"}


async def test_the_outbox_keeps_a_task_until_it_is_done(storage: SqlStorage) -> None:
    async with storage.write() as work:
        outbox = work.outbox
        await outbox.request(TENANT, S1, DefinitionAction.PUT, 100)
        await outbox.request(TENANT, ShipmentId("s-2"), DefinitionAction.PUT, 90)
        assert await outbox.waiting() == 2
        assert await outbox.due(89, 10) == []
        second, first = await outbox.due(100, 10)
        assert (second.shipment_id, first.shipment_id) == ("s-2", "s-1")
        assert await outbox.due(100, 1) == [second]

        claimed = await outbox.claim(first, 500)
        assert claimed is not None
        assert await outbox.claim(first, 600) is None, "another has it"
        assert await outbox.due(499, 10) == [second]
        assert await outbox.due(500, 10) == [second, claimed], "whoever had it has died"

        await outbox.postpone(claimed, 700, "no\n" * 200)
        [again] = [task for task in await outbox.due(700, 10) if task.shipment_id == "s-1"]
        assert (again.attempts, again.due_at_us) == (1, 700)
        await outbox.finish(again, 800)
        await outbox.finish(second, 800)
        assert await outbox.waiting() == 0


async def test_the_outbox_does_not_lose_what_is_asked_while_it_works(storage: SqlStorage) -> None:
    async with storage.write() as work:
        outbox = work.outbox
        await outbox.request(TENANT, S1, DefinitionAction.PUT, 100)
        [task] = await outbox.due(100, 10)
        putting = await outbox.claim(task, 500)
        assert putting is not None
        await outbox.request(TENANT, S1, DefinitionAction.REMOVE, 200)
        assert await outbox.due(200, 10) == [], "first the put comes to its end"
        await outbox.finish(putting, 300)
        [removing] = await outbox.due(300, 10)
        assert removing.action is DefinitionAction.REMOVE
        assert await outbox.claim(putting, 900) is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.builds(entered, st.sampled_from(["utrecht", "arnhem", "zwolle"]), st.integers(0, 9)),
            st.builds(exited, st.sampled_from(["utrecht", "arnhem"]), st.integers(0, 9)),
            st.builds(arrived, st.integers(0, 9), st.sampled_from("ab")),
            st.builds(departed, st.integers(0, 9), st.sampled_from("ab")),
            st.builds(opened, st.integers(0, 9)),
            st.builds(closed, st.integers(0, 9), st.integers(10, 19)),
            st.builds(missed, st.sampled_from(["utrecht", "arnhem"]), st.integers(0, 9), st.integers(0, 3)),
        ),
        max_size=12,
    )
)
def test_rows_say_all_there_is_to_say(events: list[Event]) -> None:
    """Different shipments have different rows, so nothing of a change can be missed."""
    now = shipment()
    for event in events:
        following = lifecycle.apply(now, event).shipment
        assert (rows_of(following) != rows_of(now)) == (following != now)
        now = following
    assert now.device_id == DEVICE
