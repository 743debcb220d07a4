"""All that an engine knows: what a snapshot holds."""

from __future__ import annotations

import numpy as np

from geofence.fence_set import FenceSet
from geofence.surroundings import surroundings
from tracking_core.device_table import NEVER, DeviceTable
from tracking_core.edits import Edits, concern_visitors, settle_all
from tracking_core.pairs.table import PairTable
from tracking_core.presence_pool import PresencePool
from tracking_core.routes.expectations import ExpectationTable
from tracking_core.routes.table import RouteTable
from tracking_core.sensors.table import SensorTable
from tracking_core.settings import EngineSettings
from tracking_core.tags.table import TagTable
from tracking_core.telling.journal import Journal


class EngineState:
    """The tables of the stages, the definitions in them, and the time of the log."""

    def __init__(self, settings: EngineSettings) -> None:
        self.clock_us = 0
        """The append time of the last log entry."""
        self.versions: dict[tuple[str, str, str], int] = {}
        """The last version seen of each (kind, tenant, id), deleted ones included."""
        self.devices = DeviceTable(settings)
        self.fences = FenceSet()
        self.presences = PresencePool()
        self.journal = Journal()
        self.first_due_us = np.full(1, NEVER, np.int64)
        """No timer of a device is due before, by the log's clock."""
        self.edits = Edits()
        self.sensors = SensorTable(settings.kept_samples)
        self.tags = TagTable(settings.kept_samples, settings.tag_silence_us, settings.horizon_us)
        self.routes = RouteTable()
        self.expectations = ExpectationTable()
        self.pairs = PairTable(settings)

    def end_version(self, slot: int) -> None:
        """Notes that the fence in this slot is about to be changed or deleted."""
        concern_visitors(slot, self.devices.rows, self.devices.columns, self.presences.columns)
        self.begin_version(slot)

    def begin_version(self, slot: int) -> None:
        """Notes that the fence in this slot is new, or was changed."""
        fence = self.fences.definition(slot)
        tenant, devices = self.fences.tenant_number(fence.tenant), self.devices
        if self.edits.is_full(tenant):
            settle_all(
                devices.rows, tenant, devices.columns, devices.timeline, self.journal.columns, self.edits.columns
            )
        self.edits.note(tenant, slot, surroundings(fence))
