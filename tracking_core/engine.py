"""The engine of one partition: readings and definitions in, verdicts and events out."""

from __future__ import annotations

from collections.abc import Sequence

from tracking_core.columns import U32, Readings
from tracking_core.definitions import Definition, DeviceIdentity
from tracking_core.eta import RouteEta
from tracking_core.settings import EngineSettings
from tracking_core.step_result import LatestColumns, StepResult


class Engine:
    """A fold over one partition of the telemetry log. Not thread-safe; does no I/O and reads no clock.

    `now_us` is always the append time of the log entry at hand. It never runs backwards inside: a smaller one than the
    last counts as the last.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings

    @classmethod
    def restore(cls, data: bytes, settings: EngineSettings) -> Engine:
        """An engine that goes on where `snapshot` was taken.

        Raises SnapshotError (tracking_core/snapshot.py) when the bytes are damaged, of another version, or of another
        partition or number of partitions.
        """
        raise NotImplementedError

    def announce(self, devices: Sequence[DeviceIdentity]) -> None:
        """Learns who device numbers are; idempotent. Raises WrongPartitionError for a device of another partition."""
        raise NotImplementedError

    def define(self, change: Definition, now_us: int) -> StepResult:
        """Obeys one edit, and evaluates the last fix or sample of the devices concerned, with cause definition.

        A version not above the last one seen for that id changes nothing.
        """
        raise NotImplementedError

    def step(self, readings: Readings, now_us: int) -> StepResult:
        """Folds a batch: due timers first, then every reading in its order.

        Raises WrongPartitionError for a device of another partition. A device that was never announced gets verdicts,
        and no events.
        """
        raise NotImplementedError

    def tick(self, now_us: int) -> StepResult:
        """Fires the timers that are due."""
        raise NotImplementedError

    def next_wakeup_us(self) -> int | None:
        """When `tick` should be called if no reading comes before, never later than the first timer is due."""
        raise NotImplementedError

    def latest(self, numbers: U32 | None = None) -> LatestColumns:
        """The newest counted fixes of these devices, or of all; devices without one are left out."""
        raise NotImplementedError

    def inside(self, device: int) -> list[str]:
        """The ids of the fences the device is inside of, sorted."""
        raise NotImplementedError

    def eta(self, tenant: str, route_id: str, now_us: int) -> RouteEta | None:
        """Arrival times for the stops of a route; None when there is no such route."""
        raise NotImplementedError

    def snapshot(self) -> bytes:
        """The whole state. Equal states give equal bytes."""
        raise NotImplementedError
