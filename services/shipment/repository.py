"""The only SQL about shipments; `bookkeeping.py` has that of the inbox and the outbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Select, Table, and_, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import ReadConnection, WriteConnection, read, upsert, write
from services.shipment import tables
from services.shipment.bookkeeping import SqlInbox, SqlOutbox
from services.shipment.commands import ListShipments
from services.shipment.events import Event, ExcursionClosed, ExcursionOpened, FenceCrossed, TagMoved
from services.shipment.model import Shipment, ShipmentChanged, ShipmentId, Status
from services.shipment.rows import CHILDREN, Values, rows_of, shipments_of

TAG_GRACE_US: Final = 24 * 3_600 * 1_000_000
"""How long after delivery tag reads still count: goods pass the consignee's portal after the vehicle has arrived. Later
the same pallet travels on, in somebody else's shipment.
"""


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

    async def concerned_by(self, event: Event) -> Sequence[ShipmentId]:
        """See ports.ReadShipments. Each of the three questions is answered from an index."""
        shipments = tables.shipments.c
        alive = and_(shipments.tenant == event.tenant, shipments.status != Status.CANCELLED.value)
        match event:
            case FenceCrossed():
                held = and_(shipments.device_id == event.device_id, shipments.ended_at_us >= event.observed_at_us)
                mine = _belongs(tables.stops, tables.stops.c.fence_id == event.fence_id)
            case TagMoved():
                held = shipments.ended_at_us >= event.observed_at_us - TAG_GRACE_US
                mine = _belongs(tables.handling_units, tables.handling_units.c.epc_hex == event.epc.hex())
            case ExcursionOpened() | ExcursionClosed():
                held = shipments.device_id == event.device_id
                mine = _belongs(tables.limits, tables.limits.c.limit_id == event.limit_id)
        query = select(shipments.shipment_id).where(alive, held, mine).order_by(shipments.shipment_id)
        return [ShipmentId(found) for found in (await self._connection.execute(query)).scalars()]

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


def _belongs(child: Table, condition: Any) -> Any:
    parent = tables.shipments.c
    return exists().where(child.c.tenant == parent.tenant, child.c.shipment_id == parent.shipment_id, condition)


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
