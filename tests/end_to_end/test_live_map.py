"""A dispatcher in front of the real thing: `drover up --demo`, and the page in Chromium."""

from __future__ import annotations

import itertools
import json
import math
import pathlib
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from ingest import replay_formats
from ingest.replay_formats import Row
from tests.end_to_end import ais
from tests.end_to_end.stack_process import StackProcess

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser, pytest.mark.server, pytest.mark.timeout(600)]


def until(found: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.1)
    return answer


@pytest.fixture(scope="module")
def page(demo_stack: StackProcess, chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"http://127.0.0.1:{demo_stack.http_port}/")
    until(lambda: page.evaluate("window.drover?.vehicles().length > 0"), "vehicles on the map")
    yield page
    page.close()


def places(page: Page) -> dict[str, tuple[float, float]]:
    found = page.evaluate("window.drover.vehicles().map(v => [v.deviceId, v.shownLongitudeDeg, v.shownLatitudeDeg])")
    return {device_id: (longitude, latitude) for device_id, longitude, latitude in found}


def test_within_ten_seconds_vehicles_move_fences_are_drawn_and_alerts_arrive(page: Page) -> None:
    until(lambda: len(places(page)) == 60, "all vehicles on the map, those that speak gRPC too", 10)
    first = places(page)

    def moved() -> int:
        now = places(page)
        return sum(math.dist(first[name], now[name]) * 111_000 > 20 for name in first) > 30

    until(moved, "vehicles move", 10)
    assert len(page.evaluate("window.drover.fences()")) == 12
    until(lambda: page.get_by_test_id("alert-item").count() > 0, "an alert appears", 10)
    expect(page.get_by_test_id("alert-item").first).to_contain_text("entered")


def test_a_vehicle_shows_its_shipment_and_arrival_time(page: Page, demo_stack: StackProcess) -> None:
    page.evaluate("window.drover.select('truck-0001')")
    expect(page.get_by_test_id("vehicle-name")).to_have_text("Truck 001", timeout=10_000)
    expect(page.get_by_test_id("shipment")).to_have_count(1, timeout=10_000)
    expect(page.get_by_test_id("stop-eta").first).to_contain_text(":", timeout=10_000)
    page.get_by_test_id("vehicle-close").click()


def test_a_drawn_fence_takes_effect(page: Page, demo_stack: StackProcess) -> None:
    # Around a vehicle that drives: drawn as a person does, by clicks on the map.
    before = places(page)
    time.sleep(2)
    now = places(page)
    device_id = max(now, key=lambda name: math.dist(before[name], now[name]))
    longitude, latitude = now[device_id]
    page.evaluate(f"window.drover.look({longitude}, {latitude}, 14)")
    page.get_by_test_id("tab-fences").click()
    page.get_by_test_id("draw-polygon").click()
    middle_x, middle_y = 640, 400
    for across, down in ((-90, -90), (90, -90), (90, 90), (-90, 90)):
        page.mouse.click(middle_x + across, middle_y + down)
        page.wait_for_timeout(400)  # two clicks at once would be a double click
    page.keyboard.press("Enter")
    page.get_by_test_id("fence-name").fill("Drawn by hand")
    page.get_by_test_id("fence-save").click()
    fence_id = until(
        lambda: next(
            (f["fenceId"] for f in page.evaluate("window.drover.fences()") if f["name"] == "Drawn by hand"), None
        ),
        "the fence is stored",
    )
    stored = demo_stack.get(f"/v1/geofences/{fence_id}")
    assert stored["geometry"]["type"] == "Polygon"
    # It takes effect on whoever crosses its border, the vehicle that is leaving it first.
    event = until(
        lambda: next(
            (e for e in demo_stack.get("/v1/events", limit=200)["items"] if e["details"].get("fence_id") == fence_id),
            None,
        ),
        "an event of the drawn fence",
        90,
    )
    until(
        lambda: page.locator(f'[data-testid="alert-item"][data-event-id="{event["event_id"]}"]').count() == 1,
        "its alert on the page",
        10,
    )


def test_a_first_position_sent_by_hand_is_on_the_map(page: Page, demo_stack: StackProcess) -> None:
    """A device that nobody knew, with the README's own command."""
    port = demo_stack.described()["addresses"]["mqtt"]
    fix = {"observed_at_us": time.time_ns() // 1000, "latitude_deg": 41.165, "longitude_deg": -8.6}
    topic = "drover/v1/demo/my-phone/position/json"
    command = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", topic, "-m", json.dumps(fix)]
    subprocess.run(command, check=True)
    shown = until(lambda: places(page).get("my-phone"), "my-phone on the map", 10)
    assert shown == pytest.approx((-8.6, 41.165), abs=1e-6)


@pytest.mark.parametrize(("via", "rows"), [("mqtt", 5_000), ("grpc", 10_000)])
def test_the_map_shows_what_was_replayed(
    page: Page, demo_stack: StackProcess, drover_data: pathlib.Path, via: str, rows: int
) -> None:
    file = ais.recording(drover_data)
    done = demo_stack.drover("replay", str(file), "--format", "ais-csv", "--via", via, "--limit", str(rows), "--json")
    assert done.returncode == 0, done.stderr
    ships = {
        row.device_id for row in itertools.islice(replay_formats.rows(file, "ais-csv"), rows) if isinstance(row, Row)
    }
    assert len(ships) > 3_000
    until(lambda: ships <= places(page).keys(), "every ship is on the map", 60)

    def is_shown_where_it_is_known() -> bool:
        """A ship's last fix may be in REST and still on its way to the page."""
        stored = {
            feature["properties"]["device_id"]: tuple(feature["geometry"]["coordinates"])
            for feature in demo_stack.get_all("/v1/positions", "features", limit=5000)
        }
        shown = places(page)
        return all(math.dist(shown[name], stored[name]) <= 1e-6 for name in ships)

    until(is_shown_where_it_is_known, "every ship is shown where REST knows it", 60)
