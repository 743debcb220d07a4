"""The frames of one tick: made when a client first needs them, shared by all who see the same."""

from __future__ import annotations

import math
import time
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.json_view import encode, time_text
from gateway.live.change_history import Change, Rows
from gateway.live.frames import Kind, frame_bytes, pack, pack_header
from gateway.live.positions_table import PositionsTable
from gateway.live.subscription import Selection, Viewport
from gateway.live.tenant import Tenant
from gateway.live.viewport_kernel import Earlier, Shown, pack_viewport, room_for


class ViewFrame(NamedTuple):
    """What a client of one selection is sent: bytes or text, and the rows in it."""

    kind: Kind
    data: bytes | str
    rows: Rows


class _ChangeView:
    """What changed since one tick, prepared once for all selections."""

    def __init__(self, change: Change, table: PositionsTable) -> None:
        self.change = change
        self._shown, self._earlier = _by_longitude(change, table)
        self._room = room_for(len(change.rows))

    def pack(self, viewport: Viewport, sequence: int, sent_at_us: int) -> ViewFrame | None:
        """The frame of one viewport; None when nothing changed in it."""
        count, gone = pack_viewport(self._shown, self._earlier, *viewport, self._room)
        if not count and not gone:
            return None
        data = self._room.words.data.cast("B")
        pack_header(data, Kind.DIFFERENCE, count, gone, sequence, sent_at_us)
        return ViewFrame(Kind.DIFFERENCE, bytes(data[: frame_bytes(count, gone)]), self._room.rows[:count].copy())

    def changed_rows(self, selection: Selection, table: PositionsTable) -> tuple[Rows, Rows]:
        """Rows to show and rows that left."""
        rows, nothing = self.change.rows, np.empty(0, np.int64)
        if selection.viewport is not None:
            visible, contains = table.visible, selection.viewport.contains
            now = contains(visible.longitude_deg[rows], visible.latitude_deg[rows])
            before = contains(self.change.earlier_longitude_deg, self.change.earlier_latitude_deg)
            return rows[now], rows[before & ~now]
        if selection.device_numbers is not None:
            wanted = _wanted_rows(table, selection.device_numbers)
            return np.intersect1d(rows, wanted, assume_unique=True), nothing
        return rows, nothing


def _by_longitude(change: Change, table: PositionsTable) -> tuple[Shown, Earlier]:
    rows, visible = change.rows, table.visible
    longitude, latitude = visible.longitude_deg[rows], visible.latitude_deg[rows]
    order = np.argsort(longitude)  # NaN comes last
    sorted_rows = rows[order]
    shown = Shown(
        longitude[order],
        latitude[order],
        visible.observed_at_us[sorted_rows].astype(np.float64),
        table.device_number[sorted_rows],
        visible.speed_mps[sorted_rows],
        visible.heading_deg[sorted_rows],
        visible.accuracy_m[sorted_rows],
        sorted_rows,
    )
    order = np.argsort(change.earlier_longitude_deg)
    earlier = Earlier(
        change.earlier_longitude_deg[order],
        change.earlier_latitude_deg[order],
        longitude[order],
        latitude[order],
        table.device_number[rows[order]],
    )
    return shown, earlier


def _wanted_rows(table: PositionsTable, device_numbers: tuple[int, ...]) -> Rows:
    return np.flatnonzero(np.isin(table.device_number[: table.length], np.array(device_numbers, np.uint32)))


class ViewFrames:
    """All frames of a table's present tick. A new one is made at the next tick."""

    def __init__(self, tenant: Tenant, sent_at_us: int) -> None:
        self._tenant = tenant
        self._table = tenant.table
        self._sent_at_us = sent_at_us
        self.tick = self._table.tick
        self._changes: dict[int, _ChangeView | None] = {}
        self._frames: dict[tuple[Selection, int | None], ViewFrame | None] = {}

    def snapshot(self, selection: Selection) -> ViewFrame:
        """All that the selection shows now."""
        key = (selection, None)
        found = self._frames.get(key)
        if found is None:
            found = self._frame(Kind.SNAPSHOT, selection, self._all_rows(selection), np.empty(0, np.int64))
            self._keep(key, found)
        return found

    def difference(self, selection: Selection, since: int) -> ViewFrame | None:
        """What changed for the selection since the tick `since`; None when nothing did. Raises LookupError when
        that is too long ago.
        """
        key = (selection, since)
        if key in self._frames:
            return self._frames[key]
        if since not in self._changes:
            change = self._table.history.since(since)
            self._changes[since] = None if change is None else _ChangeView(change, self._table)
        view = self._changes[since]
        if view is None:
            raise LookupError(since)
        if selection.viewport is not None and selection.format == "binary":
            frame = view.pack(selection.viewport, self.tick, self._sent_at_us)
        else:
            rows, removed = view.changed_rows(selection, self._table)
            frame = self._frame(Kind.DIFFERENCE, selection, rows, removed) if len(rows) or len(removed) else None
        self._keep(key, frame)
        return frame

    def _keep(self, key: tuple[Selection, int | None], frame: ViewFrame | None) -> None:
        """Keeps a frame that others will ask for; one that only a single client sees would only take memory."""
        if self._tenant.selections[key[0]] > 1:
            self._frames[key] = frame

    def _all_rows(self, selection: Selection) -> Rows:
        visible, length = self._table.visible, self._table.length
        longitude, latitude = visible.longitude_deg[:length], visible.latitude_deg[:length]
        if selection.viewport is not None:
            return np.flatnonzero(selection.viewport.contains(longitude, latitude))
        if selection.device_numbers is not None:
            rows = _wanted_rows(self._table, selection.device_numbers)
            return rows[~np.isnan(longitude[rows])]
        return np.flatnonzero(~np.isnan(longitude))

    def _frame(self, kind: Kind, selection: Selection, rows: Rows, removed: Rows) -> ViewFrame:
        table = self._table
        gone = table.device_number[removed]
        if selection.format == "binary":
            data: bytes | str = pack(kind, self.tick, self._sent_at_us, rows, table.device_number, table.visible, gone)
        else:
            data = self._json(kind, rows, gone)
        return ViewFrame(kind, data, rows)

    def _json(self, kind: Kind, rows: Rows, removed: npt.NDArray[np.uint32]) -> str:
        visible = self._table.visible
        positions = [
            {
                **self._tenant.name_view(row),
                "observed_at": time_text(observed),
                "longitude_deg": longitude,
                "latitude_deg": latitude,
                "speed_mps": None if math.isnan(speed) else speed,
                "heading_deg": None if math.isnan(heading) else heading,
                "accuracy_m": None if math.isnan(accuracy) else accuracy,
            }
            for row, observed, longitude, latitude, speed, heading, accuracy in zip(
                rows.tolist(), *(column[rows].tolist() for column in visible), strict=True
            )
        ]
        message = {
            "type": "positions",
            "kind": kind.name.lower(),
            "sequence": self.tick,
            "positions": positions,
            "removed": removed.tolist(),
        }
        return encode(message).decode()


class PresentFrames:
    """The frames of a tenant's present tick, made when the first client asks for them."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant: Final = tenant
        self._frames: ViewFrames | None = None

    def get(self) -> ViewFrames:
        """Those of the table as it is now."""
        if self._frames is None or self._frames.tick != self._tenant.table.tick:
            self._frames = ViewFrames(self._tenant, time.time_ns() // 1000)
        return self._frames
