"""How fast readings become rows: the history sink of the tracking service against the ORM, into the same real MariaDB.

`mariadb`: blocks of 4,096 fixes of 10,000 devices, every column filled, go through `HistorySink` (rows made of columns,
sorted, bulk inserts, accounts and offset in the same transaction, every commit synced to disk), timed from the first
block handed over until the last is committed. The peer is what one would write first: an object a row,
`session.add` and `session.flush`, with SQLAlchemy's ORM over the same driver. It is spared the commit a row that row by
row would mean, and commits every 1,000 rows.

Checked: every row is there once with its values, the accounts say so, and the same blocks again add nothing.
"""

from __future__ import annotations

import asyncio
import collections
import pathlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase

from benchmarks.report import Options, Pair, Result, main, measure_s, progress, rate_result
from runtime.database import create_engine, read
from runtime.migrations import migrate
from services.tracking.directory import Directory
from services.tracking.history import HistorySink, Kept
from services.tracking.history_rows import Judged, position_hash
from services.tracking.model import Device
from services.tracking.repository import HistoryRepository, history_url
from services.tracking.tables import positions
from tests.servers.mariadb import MariaDb
from tracking_core.columns import PositionColumns, Readings, empty_sensors, empty_tags, take

DEVICES: Final = 10_000
BLOCK: Final = 4_096
T0: Final = 1_700_000_000_000_000
DAY_US: Final = 86_400_000_000
NO_VERDICTS: Final = np.empty(0, np.uint8)


class Base(DeclarativeBase):
    """The peer's."""


class PositionRow(Base):
    """What the peer makes of each fix."""

    __table__ = positions


def fixes(run: int, count: int) -> PositionColumns:
    """`count` fixes of a day of its own for each run, in the order of their times."""
    chance = np.random.default_rng(run)
    observed_at_us = T0 + run * DAY_US + np.sort(chance.integers(0, DAY_US, count))
    return PositionColumns(
        device=chance.integers(0, DEVICES, count).astype(np.uint32),
        received_at_us=observed_at_us + 250_000,
        observed_at_us=observed_at_us,
        latitude_deg=chance.uniform(-80, 80, count),
        longitude_deg=chance.uniform(-180, 180, count),
        altitude_m=chance.uniform(0, 500, count).astype(np.float32),
        speed_mps=chance.uniform(0, 30, count).astype(np.float32),
        heading_deg=chance.uniform(0, 360, count).astype(np.float32),
        accuracy_m=chance.uniform(1, 30, count).astype(np.float32),
        satellites=chance.integers(4, 20, count).astype(np.int32),
        sequence=np.arange(count, dtype=np.int64),
        sent_at_us=observed_at_us + 100_000,
        is_historical=np.zeros(count, np.uint8),
    )


def entries(columns: PositionColumns, first: int) -> Iterator[Kept]:
    """The fixes as log entries, numbered from `first`."""
    count = len(columns.device)
    for number, begin in enumerate(range(0, count, BLOCK)):
        part = take(columns, slice(begin, begin + BLOCK))
        verdicts = np.ones(len(part.device), np.uint8)
        judged = Judged(Readings(part, empty_sensors(), empty_tags()), verdicts, NO_VERDICTS, NO_VERDICTS)
        yield Kept(0, f"{first + number}-0", judged, (), ())


class Ours:
    """The sink of the service, as the service sets it up."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._store = HistoryRepository(engine)
        self._directory = Directory(Device(number, "bench", f"d{number}", "") for number in range(DEVICES))
        self._next = 1

    async def write(self, columns: PositionColumns) -> None:
        """Returns when all of it is committed."""
        with ThreadPoolExecutor(1) as executor:
            sink = HistorySink(
                self._store,
                self._directory,
                executor,
                partitions=1,
                flush_rows=20_000,
                flush_s=0.2,
                queue_rows=200_000,
            )
            await sink.load()
            running = asyncio.create_task(sink.run())
            for entry in entries(columns, self._next):
                await sink.put([entry])
                self._next += 1
            await sink.close()
            await running

    async def accounts(self) -> dict[str, int]:
        """What it says it has done."""
        return dict((await self._store.accounts("bench")).counters)


async def write_row_by_row(engine: AsyncEngine, columns: PositionColumns) -> None:
    """The peer."""
    # Whether it was sent as history is not a column: a verdict says what it is taken for.
    stored = {name: column for name, column in columns._asdict().items() if name not in {"device", "is_historical"}}
    names = ("device_number", *stored, "content_hash")
    rows = zip(*(column.tolist() for column in (columns.device, *stored.values(), position_hash(columns))), strict=True)
    async with AsyncSession(engine) as session:
        for number, row in enumerate(rows, start=1):
            session.add(PositionRow(**dict(zip(names, row, strict=True)), verdict=1))
            await session.flush()
            if number % 1_000 == 0:
                await session.commit()
        await session.commit()


async def stored_sums(engine: AsyncEngine, run: int) -> tuple[Any, ...]:
    """Count and sums of what a run has stored."""
    begin = T0 + run * DAY_US
    query = (
        "SELECT COUNT(*), SUM(device_number), SUM(sequence), SUM(satellites), SUM(latitude_deg), SUM(speed_mps) "
        "FROM positions WHERE observed_at_us >= :begin AND observed_at_us < :end"
    )
    async with read(engine) as connection:
        row = (await connection.execute(text(query), {"begin": begin, "end": begin + DAY_US})).one()
    return tuple(float(value or 0) for value in row)


def right(found: tuple[Any, ...], columns: PositionColumns) -> bool:
    """Whether the sums are those of the fixes."""
    expected = (
        len(columns.device),
        columns.device.sum(dtype=np.int64),
        columns.sequence.sum(),
        columns.satellites.sum(),
        columns.latitude_deg.sum(),
        columns.speed_mps.sum(dtype=np.float64),
    )
    return bool(np.allclose(found, np.array(expected, np.float64), rtol=1e-12, atol=1e-6))


def run(options: Options) -> Iterator[Result]:
    """The one case."""
    if not options.wants("mariadb"):
        return
    count, peer_count, pairs = (80_000, 1_000, 3) if options.quick else (300_000, 4_000, 7)
    with tempfile.TemporaryDirectory(prefix="drover-bench-") as name, asyncio.Runner() as runner:
        server = MariaDb(pathlib.Path(name))
        server.start()
        try:
            server.new_database()
            yield _measured(runner, server.url, count, peer_count, pairs)
        finally:
            server.stop()


def _measured(runner: asyncio.Runner, url: str, count: int, peer_count: int, pairs: int) -> Result:
    runner.run(migrate(url, "services.tracking"))
    writer, plain = create_engine(history_url(url)), create_engine(url)
    ours = Ours(writer)
    runs = iter(range(1_000))
    written: dict[int, PositionColumns] = {}

    def timed(work: Any, size: int) -> float:
        number = next(runs)
        written[number] = columns = fixes(number, size)
        return measure_s(lambda: runner.run(work(columns)))

    def peer(columns: PositionColumns) -> Any:
        return write_row_by_row(plain, columns)

    timed(ours.write, count)
    timed(peer, peer_count)
    measured: list[Pair] = []
    for turn in range(pairs):
        if turn % 2:
            peer_s = timed(peer, peer_count)
            ours_s = timed(ours.write, count)
        else:
            ours_s = timed(ours.write, count)
            peer_s = timed(peer, peer_count)
        measured.append(Pair(ours_s, peer_s))
        progress(f"pair {turn + 1} of {pairs}: ours {count / ours_s:,.0f}, peer {peer_count / peer_s:,.0f} rows/s")
    checked = all(right(runner.run(stored_sums(plain, number)), columns) for number, columns in written.items())
    runner.run(ours.write(written[0]))  # once more: repetitions, all of them
    accounts = collections.Counter(runner.run(ours.accounts()))
    by_ours = count * (pairs + 1)
    checked = checked and accounts["positions_stored"] == by_ours and accounts["positions_repeated"] == count
    checked = checked and accounts["positions_read"] == by_ours + count
    runner.run(writer.dispose())
    runner.run(plain.dispose())
    return rate_result("mariadb", measured, count=count, peer_count=peer_count, unit="rows/s", checked=checked)


if __name__ == "__main__":
    main("history", run)
