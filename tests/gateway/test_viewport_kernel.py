"""Frames packed in one call, against the frames that numpy packs; and frames that go out without waking a task."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.live.audience import Audience
from gateway.live.change_history import Change
from gateway.live.client import Client
from gateway.live.frames import Kind, pack, unpack
from gateway.live.subscription import Subscription, Viewport
from gateway.live.view_frames import _ChangeView
from tests.gateway.test_positions_table import fixes, make_tenant

_LONGITUDES = st.sampled_from([-180.0, -179.5, -10.0, 0.0, 1.0, 10.0, 179.5, 180.0, float("nan")])
_LATITUDES = st.sampled_from([-90.0, -1.0, 0.0, 1.0, 90.0])
_PLACES = st.tuples(_LONGITUDES, _LATITUDES)
_VIEWPORTS = st.sampled_from(
    [
        Viewport(-180.0, -90.0, 180.0, 90.0),
        Viewport(0.0, 0.0, 10.0, 1.0),
        Viewport(-10.0, -1.0, -10.0, 1.0),
        Viewport(179.0, -1.0, -179.0, 1.0),
        Viewport(10.0, -90.0, 0.0, 90.0),
        Viewport(20.0, 5.0, 30.0, 6.0),
    ]
)


@settings(deadline=None)
@given(st.lists(st.tuples(_PLACES, _PLACES), max_size=12), _VIEWPORTS)
def test_it_packs_what_numpy_packs(
    moves: list[tuple[tuple[float, float], tuple[float, float]]], viewport: Viewport
) -> None:
    table = make_tenant(len(moves) + 3).table
    rows = np.arange(len(moves), dtype=np.int64)[::-1].copy()
    before = np.array([move[0] for move in moves]).reshape(-1, 2)[::-1]
    for row, (_, (longitude, latitude)) in enumerate(moves):
        table.take(np.array([row]), fixes([(1_000 + row, longitude, latitude)]))
    table.advance()
    view = _ChangeView(Change(rows, before[:, 0].copy(), before[:, 1].copy()), table)
    packed = view.pack(viewport, 7, 8)

    now = viewport.contains(table.visible.longitude_deg[rows], table.visible.latitude_deg[rows])
    gone = viewport.contains(before[:, 0], before[:, 1]) & ~now
    if packed is None:
        assert not now.any()
        assert not gone.any()
        return
    assert sorted(packed.rows.tolist()) == sorted(rows[now].tolist())
    assert isinstance(packed.data, bytes)
    removed = unpack(packed.data).removed
    assert sorted(removed.tolist()) == sorted(table.device_number[rows[gone]].tolist())
    expected = pack(Kind.DIFFERENCE, 7, 8, packed.rows, table.device_number, table.visible, removed)
    assert packed.data == expected


class Outlet:
    """A socket that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[str | bytes] = []
        self.is_clear = True
        self.is_open = True

    def send(self, message: str | bytes) -> bool:
        if self.is_open:
            self.sent.append(message)
        return self.is_open


def _client() -> tuple[Client, Outlet]:
    tenant = make_tenant(2)
    client, outlet = Audience(tenant).join(4), Outlet()
    client.subscribe(Subscription(Viewport(-1, -1, 1, 1), None, "binary", "all"), None)
    client.outlet, client.is_resting = outlet, True
    client.wake.clear()
    tenant.table.take(np.array([0]), fixes([(9, 0.5, 0.5)]))
    tenant.table.advance()
    return client, outlet


def test_a_resting_client_is_sent_to_at_once() -> None:
    client, outlet = _client()
    frame = client.deliver()
    assert frame is not None
    assert [type(message) for message in outlet.sent] == [str, bytes]
    assert outlet.sent[1] == frame.data
    assert not client.wake.is_set()
    assert client.deliver() is None  # nothing new


def test_a_client_that_is_busy_or_behind_is_woken_instead() -> None:
    for change in ("task", "events", "socket", "none"):
        client, outlet = _client()
        if change == "task":
            client.is_resting = False
        elif change == "events":
            client.push("{}")
        elif change == "socket":
            outlet.is_clear = False
        else:
            client.outlet = None
        assert client.deliver() is None
        assert client.wake.is_set()
        assert outlet.sent == []
        assert client.next_frame() is not None  # its task makes the frame


def test_a_connection_that_closes_is_sent_nothing() -> None:
    client, outlet = _client()
    outlet.is_open = False
    assert client.deliver() is None
