"""Tables, histories and frames, against a naive fleet: whatever a client misses, its screen is right in the end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.json_view import time_us
from gateway.live.audience import Audience
from gateway.live.frames import Kind, unpack
from gateway.live.positions_table import Fixes, PositionsTable
from gateway.live.subscription import Format, Subscription, Viewport, viewport
from gateway.live.tenant import Tenant
from tests.gateway import naive


def fixes(rows: list[tuple[int, float, float]]) -> Fixes:
    """Columns of (observed_at_us, longitude_deg, latitude_deg)."""
    observed, longitude, latitude = zip(*rows, strict=True) if rows else ((), (), ())
    unknown = np.full(len(rows), np.nan, np.float32)
    return Fixes(
        np.array(observed, np.int64),
        np.array(longitude, np.float64),
        np.array(latitude, np.float64),
        unknown,
        unknown,
        unknown,
    )


def make_tenant(devices: int, history_ticks: int = 100) -> Tenant:
    tenant = Tenant("acme", 1, history_ticks)
    tenant.add_devices((100 + number, f"truck-{number}", f"Truck {number}") for number in range(devices))
    tenant.loaded = True
    return tenant


class Screen:
    """What a page makes of the frames it gets."""

    def __init__(self) -> None:
        self.shown: dict[int, naive.Fix] = {}
        self.named: set[int] = set()
        self.sequence = -1
        self.kinds: list[Kind] = []

    def take(self, names: str | None, data: bytes | str) -> None:
        if names is not None:
            numbers = [each["device_number"] for each in json.loads(names)["devices"]]
            assert not self.named.intersection(numbers)
            self.named.update(numbers)
        if isinstance(data, bytes):
            frame = unpack(data)
            kind, sequence, removed = frame.kind, frame.sequence, frame.removed.tolist()
            assert self.named.issuperset(frame.device_number.tolist())
            rows = zip(
                frame.device_number.tolist(),
                frame.observed_at_us.tolist(),
                frame.longitude_deg.tolist(),
                frame.latitude_deg.tolist(),
                strict=True,
            )
            positions = {number: naive.Fix(int(at), longitude, latitude) for number, at, longitude, latitude in rows}
            assert len(positions) == len(frame.device_number)
        else:
            message: dict[str, Any] = json.loads(data)
            kind, sequence, removed = Kind[message["kind"].upper()], message["sequence"], message["removed"]
            positions = {
                each["device_number"]: naive.Fix(
                    time_us(each["observed_at"]), each["longitude_deg"], each["latitude_deg"]
                )
                for each in message["positions"]
            }
        assert sequence > self.sequence or kind is Kind.SNAPSHOT
        self.sequence = sequence
        self.kinds.append(kind)
        if kind is Kind.SNAPSHOT:
            assert not removed
            self.shown = {}
        assert not positions.keys() & set(removed)
        self.shown.update(positions)
        for number in removed:
            del self.shown[number]  # only what it has is taken from it


DEGREES = st.sampled_from([-180.0, -179.5, -10.0, -1.0, 0.0, 1.0, 10.0, 179.5, 180.0])
UPDATE = st.tuples(st.integers(0, 7), st.integers(0, 20), DEGREES, st.sampled_from([-90.0, -1.0, 0.0, 1.0, 90.0]))
VIEW = st.one_of(
    st.none(),
    st.builds(Viewport, DEGREES, st.sampled_from([-90.0, -1.0, 0.0]), DEGREES, st.sampled_from([0.0, 1.0, 90.0])),
)


@settings(max_examples=150, deadline=None)
@given(
    ticks=st.lists(st.tuples(st.lists(UPDATE, max_size=12), st.booleans()), max_size=12),
    view=VIEW,
    numbers=st.one_of(st.none(), st.sets(st.integers(100, 107))),
    form=st.sampled_from(["binary", "json"]),
    history=st.sampled_from([1, 3, 100]),
    others=st.booleans(),
)
@example(  # into the viewport and out again between two frames of a slow client
    ticks=[([(0, 0, 0.0, 0.0)], True), ([(0, 1, 10.0, 0.0)], False), ([(0, 2, -10.0, 0.0)], True)],
    view=Viewport(5.0, -1.0, 15.0, 1.0), numbers=None, form="binary", history=100, others=False,
)  # fmt: skip
@example(  # on the antimeridian, from one side to the other
    ticks=[([(0, 0, 180.0, 0.0)], True), ([(0, 1, -180.0, 0.0)], True), ([(0, 2, 0.0, 0.0)], True)],
    view=Viewport(179.5, -1.0, -179.5, 1.0), numbers=None, form="binary", history=100, others=True,
)  # fmt: skip
def test_a_screen_shows_what_it_should(
    ticks: list[tuple[list[tuple[int, int, float, float]], bool]],
    view: Viewport | None,
    numbers: set[int] | None,
    form: Format,
    history: int,
    others: bool,  # noqa: FBT001 - hypothesis gives it by name
) -> None:
    tenant, fleet = make_tenant(8, history), naive.Fleet()
    if view is not None:
        numbers = None
    chosen = None if numbers is None else tuple(sorted(numbers))
    audience = Audience(tenant)
    client, screen = audience.join(8), Screen()
    client.subscribe(Subscription(view, chosen, form, "all"), None)
    if others:  # the frame is then shared
        audience.join(8).subscribe(Subscription(view, chosen, form, "none"), None)
    for updates, reads in ticks:
        rows = np.array([row for row, *_ in updates], np.int64)
        if updates:
            tenant.table.take(rows, fixes([(at, longitude, latitude) for _, at, longitude, latitude in updates]))
        for row, at, longitude, latitude in updates:
            fleet.take(100 + row, naive.Fix(at, longitude, latitude))
        tenant.table.advance()
        fleet.advance()
        if reads:
            found = client.next_frame()
            if found is not None:
                screen.take(found[0], found[1].data)
            assert screen.shown == fleet.seen(view, numbers)
            assert client.next_frame() is None


def test_a_table_grows_and_keeps_what_it_has() -> None:
    table = PositionsTable(10)
    for number in range(1_000):
        row = table.add([number])
        table.take(np.array([row]), fixes([(number, float(number) / 10, 0.0)]))
    assert table.advance()
    assert not table.advance()
    assert table.length == 1_000
    assert table.device_number[:1_000].tolist() == list(range(1_000))
    assert table.visible.observed_at_us[:1_000].tolist() == list(range(1_000))


def test_an_older_fix_never_replaces_a_newer_one_in_one_batch() -> None:
    table = PositionsTable(10)
    table.add([1])
    table.take(np.array([0, 0, 0]), fixes([(5, 5.0, 0.0), (9, 9.0, 0.0), (7, 7.0, 0.0)]))
    table.advance()
    assert (table.visible.observed_at_us[0], table.visible.longitude_deg[0]) == (9, 9.0)


def test_what_a_late_fix_put_right_replaces_what_is_newer_or_of_the_same_time() -> None:
    table = PositionsTable(10)
    table.add([1])

    def take(observed: int, received: int) -> bool:
        table.take(np.array([0]), fixes([(observed, float(received), 0.0)]), np.array([received], np.int64))
        return table.advance() and table.visible.longitude_deg[0] == received

    assert take(9, 100)
    assert take(9, 101)  # another of the same time counts
    assert take(7, 102)  # the newest was a jump
    assert not take(7, 102)
    assert not take(6, 99)  # told once more, after a restart
    assert take(8, 90)  # the newest counts after all
    assert take(10, 103)


def test_what_is_not_yet_a_tick_is_not_seen() -> None:
    tenant = make_tenant(1)
    client = Audience(tenant).join(8)
    client.subscribe(Subscription(None, None, "binary", "all"), None)
    tenant.table.take(np.array([0]), fixes([(1, 0.0, 0.0)]))
    found = client.next_frame()
    assert found is not None
    assert len(found[1].rows) == 0


def test_history_is_bounded_by_rows_too() -> None:
    table = PositionsTable(10_000)
    table.add(range(256))
    rows = np.arange(256)
    for at in range(100):
        table.take(rows, fixes([(at, 0.0, 0.0)] * 256))
        table.advance()
    kept = [tick for tick in range(100) if table.history.since(tick) is not None]
    assert kept == [96, 97, 98, 99]
    change = table.history.since(96)
    assert change is not None
    assert len(change.rows) == 256


@pytest.mark.parametrize(
    ("given_edges", "expected"),
    [
        ((9.0, 53.0, 10.0, 54.0), (9.0, 53.0, 10.0, 54.0)),
        ((170.0, -10.0, 190.0, 10.0), (170.0, -10.0, -170.0, 10.0)),
        ((-190.0, -10.0, -170.0, 10.0), (170.0, -10.0, -170.0, 10.0)),
        ((-200.0, -10.0, 200.0, 10.0), (-180.0, -10.0, 180.0, 10.0)),
        ((170.0, 0.0, -170.0, 0.0), (170.0, 0.0, -170.0, 0.0)),
        ((-180.0, -90.0, 180.0, 90.0), (-180.0, -90.0, 180.0, 90.0)),
        ((530.0, 0.0, 550.0, 1.0), (170.0, 0.0, -170.0, 1.0)),
    ],
)
def test_viewports_as_maps_report_them(
    given_edges: tuple[float, float, float, float], expected: tuple[float, float, float, float]
) -> None:
    assert viewport(*given_edges) == expected


@pytest.mark.parametrize(
    "edges", [(0.0, 1.0, 1.0, 0.0), (float("nan"), 0.0, 1.0, 1.0), (0.0, 0.0, float("inf"), 1.0), (1e9, 0.0, 2e9, 1.0)]
)
def test_what_is_no_viewport(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError):
        viewport(*edges)
