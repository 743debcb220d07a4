"""The only SQL, but for that of `definition_repository.py`: history, devices, accounts. A method is a transaction."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Table, bindparam, exists, func, select, tuple_, update
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from drover.tracking.v1.event_pb2 import Severity, Standing, Verdict
from runtime.database import WriteConnection, insert_ignore, read, upsert, write
from runtime.partitioned_log import START
from runtime.problems import FatalError
from services.tracking.history_rows import Counters, ReadingKind, TenantRows, VerdictChange, count_repeated
from services.tracking.model import (
    Accounts,
    Device,
    EventFilter,
    StoredEvent,
    TrackPoint,
)
from services.tracking.tables import (
    accounts,
    devices,
    events,
    history_offsets,
    positions,
    sensor_samples,
    tag_reads,
)

TABLE_OF: Final[Mapping[ReadingKind, Table]] = {
    ReadingKind.POSITIONS: positions,
    ReadingKind.SENSORS: sensor_samples,
    ReadingKind.TAGS: tag_reads,
}

BULK_ROWS: Final = 4096
"""Rows of one bulk insert. The driver packs them on the event loop, about 1.3 us a row: more would make others wait."""


_CHANGE_VERDICT: Final = (
    update(positions)
    .where(
        *(positions.c[name] == bindparam(f"of_{name}") for name in ("device_number", "observed_at_us", "content_hash"))
    )
    .values(verdict=bindparam("now"))
)

STATEMENTS_KEPT: Final = 256
"""Prepared statements a history connection keeps: one for each combination of columns that devices leave out."""


def history_url(url: str) -> str:
    """The database's URL for the connection that writes history: asyncmy speaks MariaDB's bulk protocol only where its
    statement cache is on. 256,000 rows a second so, 74,000 as text; see benchmarks/history.py.
    """
    parsed = make_url(url)
    if parsed.drivername.startswith("sqlite"):
        return url
    return parsed.update_query_dict({"stmt_cache_size": str(STATEMENTS_KEPT)}).render_as_string(hide_password=False)


class HistoryDivergedError(FatalError):
    """The history has an offset that this process did not write: another tracking service writes it too."""


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryOffsets:
    """How far the history of a partition has come, and up to where its log may be gone."""

    log_offset: str
    trimmed_before: str


@dataclasses.dataclass(frozen=True, slots=True)
class Flush:
    """What one transaction of history writes. `moves`: for each partition, the offset it has and the one it gets."""

    moves: Mapping[int, tuple[str, str]]
    readings: Sequence[TenantRows]
    verdict_changes: Sequence[VerdictChange]
    """In order; after `readings`, as they may be of rows among them."""
    event_columns: tuple[str, ...]
    events: Mapping[str, Sequence[tuple[Any, ...]]]
    """By tenant."""
    devices: Sequence[Device]
    counters: Counters
    """Read, judged, and the repetitions that the engine recognised; `write` adds what SQL finds."""


def _changed(change: VerdictChange) -> dict[str, Any]:
    return {
        "of_device_number": change.device_number,
        "of_observed_at_us": change.observed_at_us,
        "of_content_hash": change.content_hash,
        "now": change.after,
    }


class HistoryRepository:
    """Readings, events, devices, offsets and accounts."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def offsets(self, partitions: int) -> dict[int, HistoryOffsets]:
        """Where each partition stands; begins those that are new."""
        async with write(self._engine) as connection:
            begin = insert_ignore(history_offsets, connection.dialect.name)
            await connection.execute(
                begin,
                [
                    {"partition_number": number, "log_offset": START, "trimmed_before": START}
                    for number in range(partitions)
                ],
            )
            rows = await connection.execute(select(history_offsets))
            return {row.partition_number: HistoryOffsets(row.log_offset, row.trimmed_before) for row in rows}

    async def mark_trimmed(self, partition: int, before: str) -> None:
        """Writes down that entries before an offset will go."""
        async with write(self._engine) as connection:
            mine = history_offsets.c.partition_number == partition
            await connection.execute(update(history_offsets).where(mine).values(trimmed_before=before))

    async def write(self, flush: Flush) -> Counters:
        """All of it, and the offsets, or nothing; returns what the accounts grew by.

        Raises HistoryDivergedError when a partition is not where `moves` has it.
        """
        grown: Counters = collections.Counter(flush.counters)
        async with write(self._engine) as connection:
            # First the offsets: their row locks keep a second writer out.
            await _move_offsets(connection, flush.moves)
            maria = connection.dialect.name != "sqlite"
            if maria:
                # A repetition is a warning to INSERT IGNORE; without this the driver would fetch and log each.
                await connection.exec_driver_sql("SET SESSION max_error_count = 0")
            if flush.devices:
                await connection.execute(
                    upsert(devices, connection.dialect.name),
                    [
                        {
                            "device_number": device.number,
                            "tenant": device.tenant,
                            "device_id": device.device_id,
                            "display_name": device.display_name,
                        }
                        for device in flush.devices
                    ],
                )
            for part in flush.readings:
                stored = await _insert(connection, TABLE_OF[part.kind], part.columns, part.rows)
                grown[part.tenant, f"{part.kind}_stored"] += stored
                count_repeated(grown, part.tenant, part.kind, part.verdict, len(part.rows) - stored)
            if flush.verdict_changes:
                await connection.execute(_CHANGE_VERDICT, [_changed(change) for change in flush.verdict_changes])
            for tenant, rows in flush.events.items():
                grown[tenant, "events"] += await _insert(connection, events, flush.event_columns, rows)
            await _add_to_accounts(connection, grown)
        return grown

    async def devices(self) -> list[Device]:
        """All that were ever announced."""
        async with read(self._engine) as connection:
            return [Device(*row) for row in await connection.execute(select(devices))]

    async def track(
        self,
        device_number: int,
        from_us: int,
        until_us: int,
        *,
        all_verdicts: bool,
        after: tuple[int, int] | None,
        limit: int,
    ) -> list[TrackPoint]:
        """Positions by time, then content; `until_us` 0 is no end, `after` the time and hash to go on from."""
        table = positions.c
        query = select(*(table[name] for name in TrackPoint._fields)).where(
            table.device_number == device_number, table.observed_at_us >= from_us
        )
        if until_us:
            query = query.where(table.observed_at_us < until_us)
        if not all_verdicts:
            query = query.where(table.verdict == Verdict.VERDICT_OK)
        if after is not None:
            query = query.where(
                table.observed_at_us >= after[0], tuple_(table.observed_at_us, table.content_hash) > after
            )
        query = query.order_by(table.observed_at_us, table.content_hash).limit(limit)
        async with read(self._engine) as connection:
            return [TrackPoint(*row) for row in await connection.execute(query)]

    async def events(self, wanted: EventFilter, *, before: tuple[int, str] | None, limit: int) -> list[StoredEvent]:
        """Events, newest first; `before` is the time and id to go on from."""
        table = events.c
        query = select(table.observed_at_us, table.event_id, table.body).where(table.tenant == wanted.tenant)
        if wanted.device_id:
            query = query.where(table.device_id == wanted.device_id)
        if wanted.kind:
            query = query.where(table.kind == wanted.kind)
        if wanted.alerts_only:
            query = query.where(table.severity > Severity.SEVERITY_NONE)
        if wanted.standing_only:
            newer = events.alias("newer").c
            corrected = exists().where(
                newer.amends_event_id == func.coalesce(table.amends_event_id, table.event_id),
                newer.revision > table.revision,
            )
            query = query.where(table.standing != Standing.STANDING_WITHDRAWN, ~corrected)
        if wanted.from_us:
            query = query.where(table.observed_at_us >= wanted.from_us)
        if wanted.until_us:
            query = query.where(table.observed_at_us < wanted.until_us)
        if before is not None:
            query = query.where(
                table.observed_at_us <= before[0], tuple_(table.observed_at_us, table.event_id) < before
            )
        query = query.order_by(table.observed_at_us.desc(), table.event_id.desc()).limit(limit)
        async with read(self._engine) as connection:
            return [StoredEvent(*row) for row in await connection.execute(query)]

    async def accounts(self, tenant: str) -> Accounts:
        """The tenant's accounts."""
        counters: dict[str, int] = {}
        verdicts: dict[int, int] = {}
        prefix = f"{ReadingKind.POSITIONS}_verdict_"
        async with read(self._engine) as connection:
            for row in await connection.execute(select(accounts).where(accounts.c.tenant == tenant)):
                if row.counter.startswith(prefix):
                    verdicts[int(row.counter.removeprefix(prefix))] = row.amount
                else:
                    counters[row.counter] = row.amount
        return Accounts(counters, verdicts)


async def _move_offsets(connection: WriteConnection, moves: Mapping[int, tuple[str, str]]) -> None:
    for partition, (before, after) in sorted(moves.items()):
        moved = await connection.execute(
            update(history_offsets)
            .where(history_offsets.c.partition_number == partition, history_offsets.c.log_offset == before)
            .values(log_offset=after)
        )
        if moved.rowcount != 1:
            raise HistoryDivergedError(
                f"the history of partition {partition} is not at {before}: does another tracking service write it?"
            )


async def _insert(
    connection: WriteConnection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    """Inserts what is not there yet, in bulk; returns how many rows that were.

    Tuples go to the driver as they are: SQLAlchemy's own executemany wants a dictionary a row, which costs more than
    the insert. asyncmy sends them in MariaDB's binary bulk protocol when its statement cache is on (see `history_url`).
    """
    lite = connection.dialect.name == "sqlite"
    names, marks = ", ".join(columns), ", ".join(["?" if lite else "%s"] * len(columns))
    statement = f"INSERT {'OR ' if lite else ''}IGNORE INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608 - our names
    stored = 0
    for begin in range(0, len(rows), BULK_ROWS):
        result = await connection.exec_driver_sql(statement, list(rows[begin : begin + BULK_ROWS]))
        stored += result.rowcount
    return stored


async def _add_to_accounts(connection: WriteConnection, grown: Counters) -> None:
    rows = [
        {"tenant": tenant, "counter": counter, "amount": amount}
        for (tenant, counter), amount in sorted(grown.items())
        if amount
    ]
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        lite = sqlite.insert(accounts)
        total = accounts.c.amount + lite.excluded.amount
        await connection.execute(
            lite.on_conflict_do_update(index_elements=["tenant", "counter"], set_={"amount": total}), rows
        )
    else:
        maria = mysql.insert(accounts)
        total = accounts.c.amount + maria.inserted.amount
        await connection.execute(maria.on_duplicate_key_update({"amount": total}), rows)
