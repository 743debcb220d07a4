"""The history sink: when it flushes, what it does when the database is away, and that accounts survive all of it."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import create_engine
from runtime.migrations import migrate
from runtime.problems import Unavailable
from services.tracking.directory import Directory
from services.tracking.history import HistorySink, Kept
from services.tracking.history_rows import Counters
from services.tracking.model import Device
from services.tracking.repository import Flush, HistoryDivergedError, HistoryOffsets, HistoryRepository, history_url
from tests.services.tracking.build import T0, judged, positions, readings
from tests.services.tracking.conftest import rows, until


class FakeStore:
    """Remembers flushes; fails as told, before or after it has taken one."""

    def __init__(self) -> None:
        self.flushes: list[Flush] = []
        self.failures: list[str] = []
        self.at = {0: "0-0", 1: "0-0"}
        self.gate = asyncio.Event()
        self.gate.set()

    async def offsets(self, partitions: int) -> dict[int, HistoryOffsets]:
        return {number: HistoryOffsets(self.at[number], "0-0") for number in range(partitions)}

    async def write(self, flush: Flush) -> Counters:
        await self.gate.wait()
        failure = self.failures.pop(0) if self.failures else None
        if failure == "before":
            raise Unavailable("gone")
        for partition, (before, after) in flush.moves.items():
            assert self.at[partition] == before
            self.at[partition] = after
        self.flushes.append(flush)
        if failure == "after":
            raise Unavailable("gone")
        return collections.Counter(flush.counters)


def kept(offset: int, fixes: int = 1, partition: int = 0) -> Kept:
    batch = readings(positions(*({"observed_at_us": T0 + offset * 1000 + row} for row in range(fixes))))
    return Kept(partition, f"{offset}-0", judged(batch), (), ())


@asynccontextmanager
async def sink(store, **settings) -> AsyncIterator[HistorySink]:
    defaults = {"flush_rows": 1_000_000, "flush_s": 0.01, "queue_rows": 1_000_000}
    with ThreadPoolExecutor(1) as executor:
        directory = Directory([Device(0, "acme", "a", "")])
        made = HistorySink(store, directory, executor, partitions=2, **{**defaults, **settings})
        await made.load()
        running = asyncio.create_task(made.run())
        try:
            yield made
            await made.close()
            await running
        finally:
            running.cancel()


async def test_flushes_when_time_is_up_and_moves_the_offsets():
    store = FakeStore()
    async with sink(store) as history:
        await history.put([kept(1), kept(2), kept(5, partition=1)])
        await until(lambda: history.passed(1, "5-0"))
        assert [dict(flush.moves) for flush in store.flushes] == [{0: ("0-0", "2-0"), 1: ("0-0", "5-0")}]
        assert not history.passed(0, "3-0")


async def test_flushes_at_once_when_there_are_many():
    store = FakeStore()
    async with sink(store, flush_s=60.0, flush_rows=10) as history:
        await history.put([kept(1, 12)])
        async with asyncio.timeout(5):
            await until(lambda: history.passed(0, "1-0"))


async def test_entries_that_are_committed_are_passed_over():
    store = FakeStore()
    store.at[0] = "2-0"
    async with sink(store) as history:
        await history.put([kept(1), kept(2), kept(3)])
    assert [dict(flush.moves) for flush in store.flushes] == [{0: ("2-0", "3-0")}]
    assert store.flushes[0].counters["acme", "positions_read"] == 1


async def test_a_full_buffer_makes_the_fold_wait():
    store = FakeStore()
    store.gate.clear()
    async with sink(store, queue_rows=10) as history:
        await history.put([kept(1, 20)])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await history.put([kept(2)])
        store.gate.set()
        await history.put([kept(2)])
    assert store.at[0] == "2-0"


@pytest.mark.parametrize("failures", [["before"], ["after"], ["before", "before", "after"]])
async def test_a_flush_is_in_once_whatever_breaks(failures: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.tracking.history.RETRY_S", 0.01)
    store = FakeStore()
    store.failures = list(failures)
    async with sink(store) as history:
        await history.put([kept(1)])
        await asyncio.sleep(0.05)
        await history.put([kept(2)])
    moves = [move for flush in store.flushes for move in flush.moves.values()]
    assert moves[0][0] == "0-0"
    assert moves[-1][1] == "2-0"
    assert sum(flush.counters["acme", "positions_read"] for flush in store.flushes) == 2
    assert history.trouble is None


async def write_behind_its_back(repository: HistoryRepository) -> None:
    async with sink(repository) as history:
        await history.put([kept(1)])
        await until(lambda: history.passed(0, "1-0"))
        history._committed[0] = "0-9"
        await history.put([kept(2)])
        await history.close()


async def test_another_writer_ends_the_process(engine: AsyncEngine):
    with pytest.raises(HistoryDivergedError):
        await write_behind_its_back(HistoryRepository(engine))


async def test_rows_and_accounts_agree_in_a_real_database(engine: AsyncEngine):
    repository = HistoryRepository(engine)
    async with sink(repository) as history:
        await history.put([kept(1, 100), kept(2, 100)])
        await until(lambda: history.passed(0, "2-0"))
        await history.put([kept(1, 100), kept(3, 50)])
    assert await rows(engine, "SELECT COUNT(*) FROM positions") == [(250,)]
    assert (await repository.accounts("acme")).counters["positions_read"] == 250


@pytest.mark.server
async def test_goes_on_when_mariadb_dies_and_comes_back(mariadb_server):
    await migrate(mariadb_server.url, "services.tracking")
    engine = create_engine(history_url(mariadb_server.url))
    repository = HistoryRepository(engine)
    async with sink(repository) as history:
        await history.put([kept(1, 100)])
        await until(lambda: history.passed(0, "1-0"))
        mariadb_server.kill()
        for offset in range(2, 12):
            await history.put([kept(offset, 100)])
        await until(lambda: history.trouble is not None)
        mariadb_server.start()  # not in a thread: it would take the server with it when it ends
        await until(lambda: history.passed(0, "11-0"))
    assert await rows(engine, "SELECT COUNT(*) FROM positions") == [(1100,)]
    assert (await repository.accounts("acme")).counters["positions_stored"] == 1100
    await engine.dispose()
