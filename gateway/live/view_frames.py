"""The frames of one tick: made when a client first needs them, shared by all who see the same."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gateway.json_view import encode, time_text
from gateway.live.change_history import Change, Rows
from gateway.live.frames import Kind, pack
from gateway.live.positions_table import PositionsTable
from gateway.live.subscription import Selection, Viewport
from gateway.live.tenant import Tenant


class ViewFrame(NamedTuple):
    """What a client of one selection is sent: bytes or text, and the rows in it."""

    kind: Kind
    data: bytes | str
    rows: Rows


class _Sorted(NamedTuple):
    """Rows by longitude, so that a viewport looks at a slice of them and not at all."""

    longitude_deg: npt.NDArray[np.float64]
    latitude_deg: npt.NDArray[np.float64]
    rows: Rows

    def within(self, viewport: Viewport) -> Rows:
        """The rows inside, edges included."""
        west, east = viewport.west, viewport.east
        if west > east:
            return np.concatenate(
                [self.within(viewport._replace(east=180.0)), self.within(viewport._replace(west=-180.0))]
            )
        first = int(np.searchsorted(self.longitude_deg, west, "left"))
        last = int(np.searchsorted(self.longitude_deg, east, "right"))
        latitude = self.latitude_deg[first:last]
        return self.rows[first:last][(latitude >= viewport.south) & (latitude <= viewport.north)]


def _by_longitude(rows: Rows, longitude_deg: npt.NDArray[np.float64], latitude_deg: npt.NDArray[np.float64]) -> _Sorted:
    order = np.argsort(longitude_deg)  # NaN, which is nowhere, comes last and beyond every search
    return _Sorted(longitude_deg[order], latitude_deg[order], rows[order])


class _ChangeView:
    """What changed since one tick, prepared once for all selections."""

    def __init__(self, change: Change, table: PositionsTable) -> None:
        self.change = change
        rows = change.rows
        self.now = _by_longitude(rows, table.visible.longitude_deg[rows], table.visible.latitude_deg[rows])
        self.earlier = _by_longitude(rows, change.earlier_longitude_deg, change.earlier_latitude_deg)


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
        rows, removed = self._changed_rows(view, selection)
        frame = self._frame(Kind.DIFFERENCE, selection, rows, removed) if len(rows) or len(removed) else None
        self._keep(key, frame)
        return frame

    def _keep(self, key: tuple[Selection, int | None], frame: ViewFrame | None) -> None:
        """Keeps a frame that others will ask for; one that only a single client sees would only take memory."""
        if self._tenant.selections[key[0]] > 1:
            self._frames[key] = frame

    def _wanted_rows(self, device_numbers: tuple[int, ...]) -> Rows:
        numbers = self._table.device_number[: self._table.length]
        return np.flatnonzero(np.isin(numbers, np.array(device_numbers, np.uint32)))

    def _all_rows(self, selection: Selection) -> Rows:
        visible, length = self._table.visible, self._table.length
        longitude, latitude = visible.longitude_deg[:length], visible.latitude_deg[:length]
        if selection.viewport is not None:
            return np.flatnonzero(selection.viewport.contains(longitude, latitude))
        if selection.device_numbers is not None:
            rows = self._wanted_rows(selection.device_numbers)
            return rows[~np.isnan(longitude[rows])]
        return np.flatnonzero(~np.isnan(longitude))

    def _changed_rows(self, view: _ChangeView, selection: Selection) -> tuple[Rows, Rows]:
        """Rows to show and rows that left."""
        nothing = np.empty(0, np.int64)
        if selection.viewport is not None:
            left = view.earlier.within(selection.viewport)
            if len(left):
                visible = self._table.visible
                left = left[~selection.viewport.contains(visible.longitude_deg[left], visible.latitude_deg[left])]
            return view.now.within(selection.viewport), left
        if selection.device_numbers is not None:
            wanted = self._wanted_rows(selection.device_numbers)
            return np.intersect1d(view.change.rows, wanted, assume_unique=True), nothing
        return view.change.rows, nothing

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
