"""The SQL of the inbox (events handled) and the outbox (what the tracking service is still to be told)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import and_, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from runtime.database import WriteConnection, upsert
from runtime.problems import Conflict
from services.shipment import tables
from services.shipment.model import ShipmentId
from services.shipment.ports import DefinitionAction, DefinitionTask

LONGEST_PROBLEM: Final = 256


class SqlInbox:
    """See ports.Inbox."""

    def __init__(self, connection: WriteConnection) -> None:
        self._connection = connection

    async def take(self, event_ids: Collection[str], now_us: int) -> set[str]:
        """See ports.Inbox."""
        seen = select(tables.inbox.c.event_id).where(tables.inbox.c.event_id.in_(event_ids))
        fresh = set(event_ids) - set((await self._connection.execute(seen)).scalars())
        rows = [{"event_id": event_id, "handled_at_us": now_us} for event_id in sorted(fresh)]
        try:
            if rows:
                await self._connection.execute(insert(tables.inbox), rows)
        except IntegrityError as error:
            raise Conflict("an event is being handled elsewhere", code="event_taken") from error
        return fresh

    async def forget(self, before_us: int) -> int:
        """See ports.Inbox."""
        done = await self._connection.execute(delete(tables.inbox).where(tables.inbox.c.handled_at_us < before_us))
        return done.rowcount


class SqlOutbox:
    """See ports.DefinitionOutbox. One row a shipment; whoever works on it has moved its due time ahead."""

    def __init__(self, connection: WriteConnection) -> None:
        self._connection = connection

    async def request(self, tenant: str, shipment_id: ShipmentId, action: DefinitionAction, now_us: int) -> None:
        """See ports.DefinitionOutbox. The due time stays: while a task is being worked on, the next one waits."""
        statement = upsert(tables.definition_outbox, self._connection.dialect.name, columns=["action"])
        row = {
            "tenant": tenant,
            "shipment_id": shipment_id,
            "action": action.value,
            "due_at_us": now_us,
            "attempts": 0,
            "problem": "",
        }
        await self._connection.execute(statement, [row])

    async def due(self, now_us: int, limit: int) -> list[DefinitionTask]:
        """See ports.DefinitionOutbox."""
        table = tables.definition_outbox
        query = select(table).where(table.c.due_at_us <= now_us).order_by(table.c.due_at_us).limit(limit)
        return [
            DefinitionTask(
                row.tenant, ShipmentId(row.shipment_id), DefinitionAction(row.action), row.due_at_us, row.attempts
            )
            for row in await self._connection.execute(query)
        ]

    async def claim(self, task: DefinitionTask, until_us: int) -> DefinitionTask | None:
        """See ports.DefinitionOutbox."""
        row = tables.definition_outbox.c
        unchanged = and_(_is(task), row.action == task.action.value, row.due_at_us == task.due_at_us)
        claiming = update(tables.definition_outbox).where(unchanged).values(due_at_us=until_us)
        done = await self._connection.execute(claiming)
        return task._replace(due_at_us=until_us) if done.rowcount == 1 else None

    async def finish(self, task: DefinitionTask, now_us: int) -> None:
        """See ports.DefinitionOutbox."""
        same = and_(_is(task), tables.definition_outbox.c.action == task.action.value)
        await self._connection.execute(delete(tables.definition_outbox).where(same))
        await self._connection.execute(
            update(tables.definition_outbox).where(_is(task)).values(due_at_us=now_us, attempts=0, problem="")
        )

    async def postpone(self, task: DefinitionTask, due_at_us: int, problem: str) -> None:
        """See ports.DefinitionOutbox."""
        values = {"due_at_us": due_at_us, "attempts": task.attempts + 1, "problem": problem[:LONGEST_PROBLEM]}
        await self._connection.execute(update(tables.definition_outbox).where(_is(task)).values(values))

    async def waiting(self) -> int:
        """See ports.DefinitionOutbox."""
        counting = select(func.count()).select_from(tables.definition_outbox)
        return int((await self._connection.execute(counting)).scalar_one())


def _is(task: DefinitionTask) -> Any:
    row = tables.definition_outbox.c
    return and_(row.tenant == task.tenant, row.shipment_id == task.shipment_id)
