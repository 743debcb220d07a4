"""The only SQL about shipments, with `concern.py`; `bookkeeping.py` has that of the inbox and the outbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Select, Table, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import ReadConnection, WriteConnection, read, upsert, write
from services.shipment import tables
from services.shipment.bookkeeping import SqlInbox, SqlOutbox
from services.shipment.commands import ListShipments
from services.shipment.concern import concerned_by
from services.shipment.events import Event
from services.shipment.model import Shipment, ShipmentChanged, ShipmentId
from services.shipment.rows import CHILDREN, Values, rows_of, shipments_of


class SqlReadShipments:
    """See ports.ReadShipments."""

    def __init__(self, connection: ReadConnection) -> None:
        self._connection = connection

    async def get(self, tenant: str, shipment_id: ShipmentId) -> Shipment | None:
        """See ports.ReadShipments."""
        table = tables.shipments.c
        query = select(tables.shipments).where(table.tenant == tenant, table.shipment_id == shipment_id)
        return next(iter(await self._load(tenant, query)), None)

    async def page(self, query: ListShipments) -> list[Shipment]:
        """See ports.ReadShipments."""
        table = tables.shipments.c
        wanted = select(tables.shipments).where(table.tenant == query.tenant)
        if query.statuses:
            wanted = wanted.where(table.status.in_(sorted(status.value for status in query.statuses)))
        if query.device_id:
            wanted = wanted.where(table.device_id == query.device_id)
        if query.after is not None:
            made_us, shipment_id = query.after
            earlier = and_(table.created_at_us == made_us, table.shipment_id < shipment_id)
            wanted = wanted.where(table.created_at_us <= made_us, or_(table.created_at_us < made_us, earlier))
        newest_first = (table.created_at_us.desc(), table.shipment_id.desc())
        return await self._load(query.tenant, wanted.order_by(*newest_first).limit(query.limit))

    async def get_many(self, tenant: str, shipment_ids: Collection[ShipmentId]) -> list[Shipment]:
        """See ports.ReadShipments."""
        table = tables.shipments.c
        wanted = select(tables.shipments).where(table.tenant == tenant, table.shipment_id.in_(sorted(shipment_ids)))
        return await self._load(tenant, wanted.order_by(table.shipment_id))

    async def concerned_by(self, events: Sequence[Event]) -> Mapping[str, Sequence[ShipmentId]]:
        """See ports.ReadShipments."""
        return await concerned_by(self._connection, events)

    async def _load(self, tenant: str, query: Select[Any]) -> list[Shipment]:
        parents = (await self._connection.execute(query)).all()
        ids = [row.shipment_id for row in parents]
        children: dict[Table, Iterable[Any]] = {}
        for table in CHILDREN:
            theirs = select(table).where(table.c.tenant == tenant, table.c.shipment_id.in_(ids))
            ordered = theirs.order_by(*table.primary_key.columns)
            children[table] = (await self._connection.execute(ordered)).all() if ids else ()
        return shipments_of(parents, children)


class SqlShipments(SqlReadShipments):
    """See ports.Shipments."""

    def __init__(self, connection: WriteConnection) -> None:
        super().__init__(connection)
        self._writer = connection

    async def add(self, shipment: Shipment) -> None:
        """See ports.Shipments."""
        try:
            for table, rows in rows_of(shipment).items():
                if rows:
                    await self._writer.execute(insert(table), rows)
        except IntegrityError as error:
            raise ShipmentChanged(shipment.shipment_id) from error

    async def save(self, before: Shipment, after: Shipment) -> None:
        """See ports.Shipments. Writes only the rows that differ."""
        old, new = rows_of(before), rows_of(after)
        [values] = new.pop(tables.shipments)
        parent = tables.shipments.c
        same = and_(
            parent.tenant == before.tenant,
            parent.shipment_id == before.shipment_id,
            parent.version == before.version,
        )
        changed = {name: value for name, value in values.items() if value != old[tables.shipments][0][name]}
        done = await self._writer.execute(update(tables.shipments).where(same).values(changed))
        if done.rowcount != 1:
            raise ShipmentChanged(before.shipment_id)
        for table, rows in new.items():
            await self._replace(table, old[table], rows)

    async def _replace(self, table: Table, old: list[Values], new: list[Values]) -> None:
        keys = [column.name for column in table.primary_key.columns]
        kept = {tuple(row[key] for key in keys) for row in new}
        for row in old:
            if tuple(row[key] for key in keys) not in kept:
                await self._writer.execute(delete(table).where(*(table.c[key] == row[key] for key in keys)))
        changed = [row for row in new if row not in old]
        if not changed:
            return
        if len(keys) == len(table.columns):
            await self._writer.execute(insert(table), changed)
        else:
            await self._writer.execute(upsert(table, self._writer.dialect.name), changed)


class SqlReadWork:
    """See ports.ReadWork."""

    def __init__(self, connection: ReadConnection) -> None:
        self.shipments: Final = SqlReadShipments(connection)


class SqlWork:
    """See ports.Work."""

    def __init__(self, connection: WriteConnection) -> None:
        self.shipments: Final = SqlShipments(connection)
        self.inbox: Final = SqlInbox(connection)
        self.outbox: Final = SqlOutbox(connection)


class SqlStorage:
    """See ports.Storage."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def read(self) -> AsyncIterator[SqlReadWork]:
        """See ports.Storage."""
        async with read(self._engine) as connection:
            yield SqlReadWork(connection)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[SqlWork]:
        """See ports.Storage."""
        async with write(self._engine) as connection:
            yield SqlWork(connection)
