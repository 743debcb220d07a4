"""What the tracking service concluded, as far as shipments care. Nothing here does I/O.

All times are event time: when it happened by the device's clock. An event may come twice, late, or in a revision that
repeats it; `model.apply` means the same by all of them.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class FenceCrossed:
    """A device entered or left a fence."""

    event_id: str
    tenant: str
    device_id: str
    observed_at_us: int
    fence_id: str
    entered: bool
    revision: int = 0
    withdrawn: bool = False
    told_at_us: int | None = None
    """When it was said to have happened in the revision before; None in the first."""

    @property
    def since_us(self) -> int:
        """The earlier of when it happened and when it was said to have happened."""
        return self.observed_at_us if self.told_at_us is None else min(self.observed_at_us, self.told_at_us)


@dataclasses.dataclass(frozen=True, slots=True)
class ExcursionOpened:
    """A sensor left its limits: `value` broke `bound`. `quantity` is its name on the wire, in lower case."""

    event_id: str
    tenant: str
    device_id: str
    observed_at_us: int
    revision: int
    limit_id: str
    probe: int
    quantity: str
    value: float
    bound: float


@dataclasses.dataclass(frozen=True, slots=True)
class ExcursionClosed:
    """The excursion that was opened at `opened_at_us` is over; `worst_value` was its extreme."""

    event_id: str
    tenant: str
    device_id: str
    observed_at_us: int
    revision: int
    limit_id: str
    probe: int
    quantity: str
    opened_at_us: int
    worst_value: float


@dataclasses.dataclass(frozen=True, slots=True)
class TagMoved:
    """A tag arrived at a reader (the device), or was last read there and is gone."""

    event_id: str
    tenant: str
    device_id: str
    observed_at_us: int
    epc: bytes
    arrived: bool


@dataclasses.dataclass(frozen=True, slots=True)
class ArrivalMissed:
    """The device had not come to a stop of its route when that was due: at `observed_at_us`. Withdrawn: it had."""

    event_id: str
    tenant: str
    device_id: str
    observed_at_us: int
    revision: int
    withdrawn: bool
    route_id: str
    """Of a shipment's route, its shipment id."""
    stop_id: str


Event = FenceCrossed | ExcursionOpened | ExcursionClosed | TagMoved | ArrivalMissed
