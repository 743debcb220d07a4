"""Shipments as they are. Pure, like `lifecycle.py`, which says what events make of them.

A shipment keeps *facts*, each a thing that happened at a time: its fences' crossings, its tags' sightings, its
excursions, arrivals that were missed. Facts only add up, whatever the order they come in and however often; the status
and the times at the stops are computed from all of them (`progress.py`). So late and repeated events need no special
case; and a correction is a fact too: what was told before, at that time, is not so.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Final, NamedTuple, NewType

from runtime.problems import Conflict, NotFound

ShipmentId = NewType("ShipmentId", str)


CORRECTION_GRACE_US: Final = 24 * 3_600 * 1_000_000
"""How long after delivery crossings are still noted: the horizon of late data, within which the arrival that made it
may be withdrawn. Then what came after it counts.
"""


class Status(enum.StrEnum):
    """As in the proto, docs/shipments.md has the diagram."""

    PLANNED = "planned"
    IN_TRANSIT = "in_transit"
    AT_STOP = "at_stop"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class Crossing(NamedTuple):
    """The device crossed a stop's fence; or, of a higher revision and `withdrawn`: it did not, at that time."""

    observed_at_us: int
    entered: bool
    fence_id: str
    revision: int = 0
    withdrawn: bool = False

    @property
    def key(self) -> tuple[int, bool, str]:
        """What makes two of them speak of the same; the higher revision holds."""
        return self.observed_at_us, self.entered, self.fence_id


@dataclasses.dataclass(frozen=True, slots=True)
class Stop:
    """A planned stop. `radius_m` None: the tenant's own fence `fence_id`; else a circle that this service makes."""

    stop_id: str
    name: str
    longitude_deg: float
    latitude_deg: float
    fence_id: str
    radius_m: float | None
    planned_arrival_us: int | None
    service_time_us: int
    arrived_at_us: int | None = None
    departed_at_us: int | None = None
    missed_at_us: int | None = None
    """When an arrival was due that was missed. The revision is the highest that said so, or not so; -1: none did."""
    missed_revision: int = -1


@dataclasses.dataclass(frozen=True, slots=True)
class Limit:
    """Bounds of a quantity (its number on the wire) while the shipment is carried. `limit_id` is unique."""

    limit_id: str
    quantity: int
    minimum: float | None
    maximum: float | None
    hysteresis: float
    minimum_duration_us: int


class Sighting(NamedTuple):
    """The newest word of one reader about a tag. At the same time `gone` follows `not gone`: it is dated at a read."""

    observed_at_us: int
    gone: bool
    reader_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class HandlingUnit:
    """A tagged pallet, case or returnable item, and who has seen it: at most one sighting a reader."""

    epc: bytes
    name: str
    sightings: tuple[Sighting, ...] = ()

    @property
    def last_sighting(self) -> Sighting | None:
        """The newest of a reader that still has it; else the newest of all; None when it was never read."""
        return max([each for each in self.sightings if not each.gone] or self.sightings, default=None)


@dataclasses.dataclass(frozen=True, slots=True)
class ShipmentException:
    """An excursion out of a limit. The closing event may be known first; then `value` and `bound` are None.

    The revisions are those of the opening and the closing event; -1 when it is not known.
    """

    limit_id: str
    probe: int
    opened_at_us: int
    event_id: str
    quantity: str
    value: float | None = None
    bound: float | None = None
    worst_value: float | None = None
    closed_at_us: int | None = None
    opened_revision: int = -1
    closed_revision: int = -1

    @property
    def key(self) -> tuple[str, int, int]:
        """What makes two events speak of the same excursion."""
        return self.limit_id, self.probe, self.opened_at_us

    @property
    def detail(self) -> str:
        """One line for a person."""
        words = [self.quantity]
        if self.value is not None and self.bound is not None:
            words.append(f"{self.value:g} is {'above' if self.value > self.bound else 'below'} {self.bound:g}")
        if self.worst_value is not None:
            words.append(f"at worst {self.worst_value:g}")
        return ", ".join(words)


@dataclasses.dataclass(frozen=True, slots=True)
class Shipment:
    """What is carried, by which device, past which stops, under which limits, and what became of it.

    `ended_at_us` is the event time of delivery, or the time of cancelling; None while open. `content_digest` stands for
    what the tenant asked for, without what became of it. `version` counts changes from 1.
    """

    tenant: str
    shipment_id: ShipmentId
    reference: str
    device_id: str
    stops: tuple[Stop, ...]
    limits: tuple[Limit, ...]
    handling_units: tuple[HandlingUnit, ...]
    route_longitude_deg: tuple[float, ...]
    route_latitude_deg: tuple[float, ...]
    content_digest: str
    created_at_us: int
    updated_at_us: int
    version: int = 1
    status: Status = Status.PLANNED
    ended_at_us: int | None = None
    cancel_reason: str = ""
    exceptions: tuple[ShipmentException, ...] = ()
    crossings: tuple[Crossing, ...] = ()


class UnknownShipment(NotFound):
    """No such shipment in this tenant."""

    code = "unknown_shipment"

    def __init__(self, shipment_id: str) -> None:
        super().__init__(f"there is no shipment {shipment_id!r}")
        self.shipment_id = shipment_id


class ShipmentExists(Conflict):
    """A shipment of that id was made before, with other content."""

    code = "shipment_exists"

    def __init__(self, shipment_id: str) -> None:
        super().__init__(f"shipment {shipment_id!r} exists with other content")
        self.shipment_id = shipment_id


class ShipmentEnded(Conflict):
    """What is delivered cannot be cancelled."""

    code = "shipment_ended"

    def __init__(self, shipment_id: str) -> None:
        super().__init__(f"shipment {shipment_id!r} is delivered")
        self.shipment_id = shipment_id


class ShipmentChanged(Conflict):
    """Somebody else changed the shipment between reading and writing it; trying again helps."""

    code = "shipment_changed"

    def __init__(self, shipment_id: str) -> None:
        super().__init__(f"shipment {shipment_id!r} was changed by somebody else at the same time")
        self.shipment_id = shipment_id
