"""Fakes of the ports: as the real ones mean it, in memory."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from runtime.problems import Problem
from services.shipment.commands import ListShipments
from services.shipment.events import Event, FenceCrossed, TagMoved
from services.shipment.model import Shipment, ShipmentChanged, ShipmentId, Status
from services.shipment.ports import DefinitionAction, DefinitionTask, Ports


class FakeShipments:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, ShipmentId], Shipment] = {}

    async def get(self, tenant: str, shipment_id: ShipmentId) -> Shipment | None:
        return self.rows.get((tenant, shipment_id))

    async def page(self, query: ListShipments) -> list[Shipment]:
        return [
            each
            for each in sorted(
                self.rows.values(), key=lambda each: (each.created_at_us, each.shipment_id), reverse=True
            )
            if each.tenant == query.tenant
            and (not query.statuses or each.status in query.statuses)
            and (not query.device_id or each.device_id == query.device_id)
            and (query.after is None or (each.created_at_us, each.shipment_id) < query.after)
        ][: query.limit]

    async def get_many(self, tenant: str, shipment_ids: Collection[ShipmentId]) -> list[Shipment]:
        return [
            each for (mine, shipment_id), each in self.rows.items() if mine == tenant and shipment_id in shipment_ids
        ]

    async def concerned_by(self, events: Sequence[Event]) -> Mapping[str, Sequence[ShipmentId]]:
        found: dict[str, list[ShipmentId]] = {}
        for event in events:
            for each in self.rows.values():
                if each.tenant == event.tenant and each.status is not Status.CANCELLED and _names(each, event):
                    found.setdefault(event.event_id, []).append(each.shipment_id)
        return found

    async def add(self, shipment: Shipment) -> None:
        if (shipment.tenant, shipment.shipment_id) in self.rows:
            raise ShipmentChanged(shipment.shipment_id)
        self.rows[shipment.tenant, shipment.shipment_id] = shipment

    async def save(self, before: Shipment, after: Shipment) -> None:
        if self.rows[before.tenant, before.shipment_id].version != before.version:
            raise ShipmentChanged(before.shipment_id)
        self.rows[before.tenant, before.shipment_id] = after


def _names(shipment: Shipment, event: Event) -> bool:
    if isinstance(event, FenceCrossed):
        fences = {each.fence_id for each in shipment.stops}
        return event.device_id == shipment.device_id and event.fence_id in fences
    if isinstance(event, TagMoved):
        return event.epc in {each.epc for each in shipment.handling_units}
    return event.limit_id in {each.limit_id for each in shipment.limits}


class FakeInbox:
    def __init__(self) -> None:
        self.taken: dict[str, int] = {}

    async def take(self, event_ids: Collection[str], now_us: int) -> set[str]:
        fresh = set(event_ids) - self.taken.keys()
        self.taken |= dict.fromkeys(fresh, now_us)
        return fresh

    async def forget(self, before_us: int) -> int:
        old = [event_id for event_id, at_us in self.taken.items() if at_us < before_us]
        for event_id in old:
            del self.taken[event_id]
        return len(old)


class FakeOutbox:
    def __init__(self) -> None:
        self.tasks: dict[ShipmentId, DefinitionTask] = {}
        self.problems: list[str] = []

    async def request(self, tenant: str, shipment_id: ShipmentId, action: DefinitionAction, now_us: int) -> None:
        fresh = DefinitionTask(tenant, shipment_id, action, now_us, 0)
        self.tasks[shipment_id] = self.tasks.get(shipment_id, fresh)._replace(action=action)

    async def due(self, now_us: int, limit: int) -> list[DefinitionTask]:
        return sorted((task for task in self.tasks.values() if task.due_at_us <= now_us), key=lambda t: t.due_at_us)[
            :limit
        ]

    async def claim(self, task: DefinitionTask, until_us: int) -> DefinitionTask | None:
        if self.tasks.get(task.shipment_id) != task:
            return None
        self.tasks[task.shipment_id] = task._replace(due_at_us=until_us)
        return self.tasks[task.shipment_id]

    async def finish(self, task: DefinitionTask, now_us: int) -> None:
        present = self.tasks.get(task.shipment_id)
        if present is None:
            return
        if present.action is task.action:
            del self.tasks[task.shipment_id]
        else:
            self.tasks[task.shipment_id] = present._replace(due_at_us=now_us, attempts=0)

    async def postpone(self, task: DefinitionTask, due_at_us: int, problem: str) -> None:
        present = self.tasks[task.shipment_id]
        self.tasks[task.shipment_id] = present._replace(due_at_us=due_at_us, attempts=task.attempts + 1)
        self.problems.append(problem)

    async def waiting(self) -> int:
        return len(self.tasks)


class FakeStorage:
    """Transactions are one at a time; one that fails leaves nothing behind."""

    def __init__(self) -> None:
        self.shipments = FakeShipments()
        self.inbox = FakeInbox()
        self.outbox = FakeOutbox()
        self.writes = 0

    @asynccontextmanager
    async def read(self) -> AsyncIterator[FakeStorage]:
        yield self

    @asynccontextmanager
    async def write(self) -> AsyncIterator[FakeStorage]:
        self.writes += 1
        kept = copy.copy(self.shipments.rows), copy.copy(self.inbox.taken), copy.copy(self.outbox.tasks)
        try:
            yield self
        except BaseException:
            self.shipments.rows, self.inbox.taken, self.outbox.tasks = kept
            raise


class FakeHints:
    def __init__(self) -> None:
        self.told: list[Shipment] = []

    async def shipment_changed(self, shipment: Shipment) -> None:
        self.told.append(shipment)


class FakeDefinitions:
    """Remembers what is defined; raises the next of `problems` instead, while there are any."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ShipmentId]] = []
        self.defined: set[ShipmentId] = set()
        self.problems: list[Problem] = []

    async def put(self, shipment: Shipment) -> None:
        self._called("put", shipment)
        self.defined.add(shipment.shipment_id)

    async def remove(self, shipment: Shipment) -> None:
        self._called("remove", shipment)
        self.defined.discard(shipment.shipment_id)

    def _called(self, action: str, shipment: Shipment) -> None:
        self.calls.append((action, shipment.shipment_id))
        if self.problems:
            raise self.problems.pop(0)


class World:
    """All ports, and a clock that is set by hand."""

    def __init__(self, now_us: int) -> None:
        self.storage = FakeStorage()
        self.hints = FakeHints()
        self.time_us = now_us
        self.wakes = 0
        self.ports = Ports(self.storage, self.hints, lambda: self.time_us, self._wake)

    def _wake(self) -> None:
        self.wakes += 1
