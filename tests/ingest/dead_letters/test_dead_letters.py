"""The store of dead letters, on SQLite and MariaDB."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ingest.dead_letters.store import DeadLetter, DeadLetters, StoreUnavailableError, UnknownDeadLetterError
from ingest.reasons import Reason
from runtime.database import create_engine
from runtime.migrations import migrate
from tests.ingest.rig import NOW_US
from tests.servers.mariadb import MariaDb

DAY_US = 86_400_000_000


def letter(number: int = 0, *, tenant: str = "acme", reason: Reason = Reason.MALFORMED, size: int = 5) -> DeadLetter:
    payload = bytes([number % 256]) * size
    return DeadLetter(
        tenant, "mqtt", f"topic/{number}/\N{DELIVERY TRUCK}", reason, "why", payload, size, NOW_US + number
    )


@asynccontextmanager
async def stored(url: str, **options: float) -> AsyncIterator[DeadLetters]:
    await migrate(url, "ingest")
    engine = create_engine(url)
    store = DeadLetters(engine, **options)  # type: ignore[arg-type]
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(store.run())
            yield store
            store.close()
    finally:
        await engine.dispose()


@pytest.fixture
def url(tmp_path: pathlib.Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'ingest.db'}"


async def _keeps_and_finds(url: str) -> None:
    async with stored(url) as store:
        await asyncio.gather(*(store.put([letter(n), letter(n, tenant="other")]) for n in range(40)))
        await store.put([letter(50, reason=Reason.UNKNOWN_DEVICE, size=70_000)])
        assert await store.count() == 81
        first = await store.page(["acme"], before_id=2**62, size=30)
        second = await store.page(["acme"], before_id=first[-1].dead_letter_id, size=30)
        ids = [each.dead_letter_id for each in (*first, *second)]
        assert ids == sorted(ids, reverse=True)
        assert len(set(ids)) == 41
        assert {each.tenant for each in (*first, *second)} == {"acme"}
        (found,) = await store.page(["acme"], before_id=2**62, size=10, reason="unknown_device")
        assert (len(found.payload), found.payload_bytes, found.replayed_at_us) == (65_536, 70_000, None)
        assert found.topic == "topic/50/\N{DELIVERY TRUCK}"
        await store.mark_replayed(found.dead_letter_id, NOW_US)
        assert (await store.get(["acme"], found.dead_letter_id)).replayed_at_us == NOW_US
        with pytest.raises(UnknownDeadLetterError):
            await store.get(["other"], found.dead_letter_id)
        with pytest.raises(UnknownDeadLetterError):
            await store.get(["acme"], 2**63 - 1)


async def test_keeps_and_finds_on_sqlite(url: str) -> None:
    await _keeps_and_finds(url)


@pytest.mark.server
async def test_keeps_and_finds_on_mariadb(mariadb_server: MariaDb) -> None:
    await _keeps_and_finds(mariadb_server.url)


async def test_old_letters_go_and_the_oldest_beyond_the_number(url: str) -> None:
    async with stored(url, retention_days=1.0, max_letters=600) as store:
        await store.put([letter(n)._replace(received_at_us=NOW_US - DAY_US - 1) for n in range(3)])
        await store.put([letter(n) for n in range(600)])
        assert await store.prune(NOW_US) == 3
        await store.put([letter(n) for n in range(1_200)])
        assert await store.prune(NOW_US) == 1_200
        assert await store.count() == 600
        assert await store.prune(NOW_US) == 0
        assert await store.prune(NOW_US + 2 * DAY_US) == 600


async def test_a_database_that_is_away_makes_putting_wait(url: str) -> None:
    async with stored(url) as store:
        async with store._engine.connect() as other:
            await other.exec_driver_sql("ALTER TABLE dead_letters RENAME TO away")
            await other.commit()
            putting = asyncio.create_task(store.put([letter()]))
            await asyncio.sleep(0.2)
            assert not putting.done()
            assert store.wrong is not None
            await other.exec_driver_sql("ALTER TABLE away RENAME TO dead_letters")
            await other.commit()
        await asyncio.wait_for(putting, 10)
        assert store.wrong is None
        assert await store.count() == 1


async def test_closing_while_the_database_is_away_says_so(url: str) -> None:
    async with stored(url) as store:
        async with store._engine.connect() as other:
            await other.exec_driver_sql("ALTER TABLE dead_letters RENAME TO away")
            await other.commit()
        putting = asyncio.create_task(store.put([letter()]))
        await asyncio.sleep(0.1)
        store.close()
        with pytest.raises(StoreUnavailableError):
            await putting
        with pytest.raises(StoreUnavailableError):
            await store.put([letter()])
