"""What the handlers need of the world: SQL, the tracking service and Redis stand behind these protocols, or fakes."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from services.shipment.commands import ListShipments
from services.shipment.events import Event
from services.shipment.model import Shipment, ShipmentId


class DefinitionAction(enum.StrEnum):
    """What the tracking service is to be told of a shipment."""

    PUT = "put"
    REMOVE = "remove"


class DefinitionTask(NamedTuple):
    """Something to tell the tracking service, until it has been told."""

    tenant: str
    shipment_id: ShipmentId
    action: DefinitionAction
    due_at_us: int
    attempts: int


class ReadShipments(Protocol):
    """Shipments as of one moment."""

    async def get(self, tenant: str, shipment_id: ShipmentId) -> Shipment | None:
        """One shipment."""

    async def page(self, query: ListShipments) -> list[Shipment]:
        """At most `query.limit` shipments, newest first."""

    async def concerned_by(self, events: Sequence[Event]) -> Mapping[str, Sequence[ShipmentId]]:
        """Shipments of its tenant that an event may change, by event id; events that concern none are left out.

        Cheap to ask, for most events concern none.
        """

    async def get_many(self, tenant: str, shipment_ids: Collection[ShipmentId]) -> list[Shipment]:
        """Those of them that there are."""


class Shipments(ReadShipments, Protocol):
    """Shipments within a transaction."""

    async def add(self, shipment: Shipment) -> None:
        """Stores a new one. Raises ShipmentChanged when somebody else has just stored one of that id."""

    async def save(self, before: Shipment, after: Shipment) -> None:
        """Stores a change of what was read. Raises ShipmentChanged when it was changed in between."""


class Inbox(Protocol):
    """Which events were handled, within the transaction of what they changed."""

    async def take(self, event_ids: Collection[str], now_us: int) -> set[str]:
        """Those that were not handled before; they are written down. Raises Conflict when another process has just
        done so.
        """

    async def forget(self, before_us: int) -> int:
        """Lets go of events handled before a time; returns how many."""


class DefinitionOutbox(Protocol):
    """What the tracking service is still to be told, written in the transaction that made it so."""

    async def request(self, tenant: str, shipment_id: ShipmentId, action: DefinitionAction, now_us: int) -> None:
        """Asks for an action; it takes the place of one that is waiting for the same shipment."""

    async def due(self, now_us: int, limit: int) -> list[DefinitionTask]:
        """Tasks whose time has come, longest waiting first."""

    async def claim(self, task: DefinitionTask, until_us: int) -> DefinitionTask | None:
        """Keeps others from the task until then; None when it is no longer as it was."""

    async def finish(self, task: DefinitionTask, now_us: int) -> None:
        """It has been told. Where another action was asked for meanwhile, that one is due now."""

    async def postpone(self, task: DefinitionTask, due_at_us: int, problem: str) -> None:
        """It could not be told; try again then."""

    async def waiting(self) -> int:
        """How many tasks there are."""


class ReadWork(Protocol):
    """One consistent look at the database."""

    @property
    def shipments(self) -> ReadShipments:
        """Shipments."""


class Work(Protocol):
    """One transaction: all of it, or nothing."""

    @property
    def shipments(self) -> Shipments:
        """Shipments."""

    @property
    def inbox(self) -> Inbox:
        """Events handled."""

    @property
    def outbox(self) -> DefinitionOutbox:
        """What is to be told."""


class Storage(Protocol):
    """The service's database. Both methods raise Unavailable when it does not answer."""

    def read(self) -> AbstractAsyncContextManager[ReadWork]:
        """For questions."""

    def write(self) -> AbstractAsyncContextManager[Work]:
        """For changes: committed when the block ends, undone when it raises."""


class TrackingDefinitions(Protocol):
    """Where fences, limits and routes are defined. Both methods may be repeated; both raise Problem."""

    async def put(self, shipment: Shipment) -> None:
        """Defines the shipment's stop fences, its limits and its route."""

    async def remove(self, shipment: Shipment) -> None:
        """Takes away what `put` made."""


class Hints(Protocol):
    """Tells whoever listens that something changed. A hint may be lost."""

    async def shipment_changed(self, shipment: Shipment) -> None:
        """Somebody may want to show it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ports:
    """All that a handler is given beside its command. `outbox_filled` wakes who empties the outbox."""

    storage: Storage
    hints: Hints
    now_us: Callable[[], int]
    outbox_filled: Callable[[], None]
