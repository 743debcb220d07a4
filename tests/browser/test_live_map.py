"""The page in Chromium: what a dispatcher sees and does."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from drover.tracking.v1.event_pb2 import Severity
from gateway import json_view
from tests.browser.conftest import TRUCKS
from tests.browser.fake_gateway import FakeGateway, in_minutes, token
from tests.browser.world import Truck

pytestmark = pytest.mark.browser
expect.set_options(timeout=20_000)


def open_page(page: Page, gateway: FakeGateway, fragment: str = "") -> None:
    """Opens the page and waits for vehicles."""
    page.goto(gateway.url + fragment)
    # Not `wait_for_function`: it evaluates text inside the page, which the content security policy forbids.
    until(lambda: page.evaluate("window.drover?.vehicles().length > 0 && window.drover.frames() > 2"), 20)
    expect(page.get_by_test_id("connection")).to_contain_text("live")


def until(found: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Waits until `found` gives something."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return answer


def vehicles(page: Page) -> dict[str, dict[str, Any]]:
    """What the page knows, by device id."""
    return {vehicle["deviceId"]: vehicle for vehicle in page.evaluate("window.drover.vehicles()")}


def look(page: Page, longitude: float, latitude: float, zoom: float) -> None:
    page.evaluate("at => window.drover.look(...at)", [longitude, latitude, zoom])
    page.wait_for_timeout(600)


def pixel(page: Page, longitude: float, latitude: float) -> tuple[float, float]:
    place = page.evaluate("at => window.drover.project(...at)", [longitude, latitude])
    return place["x"], place["y"]


def click(page: Page, longitude: float, latitude: float) -> None:
    page.mouse.move(*pixel(page, longitude, latitude))
    page.mouse.click(*pixel(page, longitude, latitude))
    page.wait_for_timeout(350)  # two clicks in a shorter time are a double click


def colour_count(page: Page, box: Mapping[str, float], colour: tuple[int, int, int], tolerance: int = 24) -> int:
    """How many pixels of a part of the page have a colour, as really drawn."""
    picture = base64.b64encode(page.screenshot(clip=box)).decode()  # type: ignore[arg-type]
    counted = page.evaluate(
        """async ([picture, colour, tolerance]) => {
            const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
            const image = await createImageBitmap(new Blob([bytes]));
            const pen = new OffscreenCanvas(image.width, image.height).getContext("2d");
            pen.drawImage(image, 0, 0);
            const pixels = pen.getImageData(0, 0, image.width, image.height).data;
            let count = 0;
            for (let i = 0; i < pixels.length; i += 4) {
                if (colour.every((part, k) => Math.abs(pixels[i + k] - part) <= tolerance)) count++;
            }
            return count;
        }""",
        [picture, list(colour), tolerance],
    )
    return int(counted)


def loud(gateway: FakeGateway) -> Truck:
    """A truck that moves."""
    return next(truck for truck in gateway.world.trucks if truck.silent_s == 0.0 and truck.knows_heading)


def test_every_vehicle_is_known_as_the_frame_says(page: Page, gateway: FakeGateway) -> None:
    gateway.moving = False
    open_page(page, gateway)
    known = vehicles(page)
    assert len(known) == TRUCKS
    for truck in gateway.world.trucks:
        vehicle = known[truck.device_id]
        assert vehicle["name"] == truck.name
        assert (vehicle["longitudeDeg"], vehicle["latitudeDeg"]) == (truck.longitude_deg, truck.latitude_deg)
        assert vehicle["accuracyM"] == 6 + truck.number % 9
        heading = vehicle["headingDeg"]
        if truck.knows_heading:
            assert heading == pytest.approx(truck.heading_deg, abs=1e-3)
        else:
            assert heading is None or math.isnan(heading)


def test_vehicles_are_drawn_and_move(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    truck = loud(gateway)
    look(page, truck.longitude_deg, truck.latitude_deg, 15)
    first = vehicles(page)[truck.device_id]
    x, y = pixel(page, first["shownLongitudeDeg"], first["shownLatitudeDeg"])
    around = {"x": x - 60, "y": y - 60, "width": 120, "height": 120}
    assert colour_count(page, around, (0x35, 0xD0, 0xA5)) > 20, "no fresh vehicle where it should be drawn"

    def moved() -> bool:
        now = vehicles(page)[truck.device_id]
        return bool(
            now["shownLongitudeDeg"] != first["shownLongitudeDeg"] and now["observedAtUs"] > first["observedAtUs"]
        )

    until(moved)

    # What is drawn lies behind the newest fix, never ahead of it.
    def off_m(a: dict[str, Any]) -> float:
        return (
            math.hypot(a["shownLongitudeDeg"] - a["longitudeDeg"], a["shownLatitudeDeg"] - a["latitudeDeg"]) * 111_195
        )

    for _ in range(5):
        assert off_m(vehicles(page)[truck.device_id]) < 4 * truck.speed_mps
        page.wait_for_timeout(100)
    gateway.moving = False
    page.wait_for_timeout(2500)
    resting = vehicles(page)[truck.device_id]
    assert off_m(resting) == 0
    assert (resting["longitudeDeg"], resting["latitudeDeg"]) == (truck.longitude_deg, truck.latitude_deg)


def test_ages_are_counted_in_the_legend(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    silences = [truck.silent_s for truck in gateway.world.trucks]
    expect(page.get_by_test_id("count-fresh")).to_have_text(str(sum(silence < 60 for silence in silences)))
    expect(page.get_by_test_id("count-stale")).to_have_text(str(sum(silence >= 300 for silence in silences)))


def test_the_list_is_searched_and_opens_a_vehicle(page: Page, gateway: FakeGateway) -> None:
    truck = loud(gateway)
    gateway.shipments.append(
        {
            "shipment_id": "sh-1", "reference": "PO 77", "device_id": truck.device_id, "status": "in_transit",
            "stops": [
                {"stop_id": "a", "name": "Yard", "arrived_at": None, "departed_at": None, "missed_at": in_minutes(-3)}
            ],
            "exceptions": [],
        }
    )  # fmt: skip
    stop = {"stop_id": "a", "p10_at": in_minutes(5), "p50_at": in_minutes(9), "p90_at": in_minutes(20), "passed": False}
    gateway.etas["sh-1"] = {"stops": [stop], "reasons": []}
    open_page(page, gateway)
    expect(page.get_by_test_id("vehicle-count")).to_have_text(str(TRUCKS))
    page.keyboard.press("/")
    page.keyboard.type(truck.device_id)
    expect(page.get_by_test_id("vehicle-count")).to_have_text(f"1 of {TRUCKS}")
    page.keyboard.press("Enter")
    panel = page.get_by_test_id("vehicle-panel")
    expect(panel).to_be_visible()
    expect(page.get_by_test_id("vehicle-name")).to_have_text(truck.name)
    expect(page.get_by_test_id("vehicle-speed")).to_have_text(f"{round(truck.speed_mps * 3.6)} km/h")
    expect(page.get_by_test_id("shipment")).to_contain_text("PO 77")
    expect(page.get_by_test_id("stop-eta")).to_contain_text("≈")
    expect(page.get_by_test_id("shipment")).to_contain_text("Yard late")
    assert page.evaluate("window.drover.selection()") == truck.device_id
    page.get_by_test_id("vehicle-close").click()
    expect(panel).to_be_hidden()


def test_a_click_on_a_vehicle_opens_it(page: Page, gateway: FakeGateway) -> None:
    gateway.moving = False
    open_page(page, gateway)
    truck = loud(gateway)
    look(page, truck.longitude_deg, truck.latitude_deg, 16)
    click(page, truck.longitude_deg, truck.latitude_deg)
    expect(page.get_by_test_id("vehicle-name")).to_have_text(truck.name)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("vehicle-panel")).to_be_hidden()


def test_an_alert_appears_newest_first_and_is_flown_to(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    first, second = gateway.world.trucks[:2]
    now_us = time.time_ns() // 1000
    for at_us, truck in ((now_us - 2_000_000, first), (now_us - 1_000_000, second)):
        gateway.publish(gateway.world.event(
            "geofence_entered", truck, at_us, Severity.SEVERITY_WARNING, fence_id="yard", fence_name="Yard"
        ))  # fmt: skip
    quiet = gateway.world.event("geofence_exited", first, now_us, Severity.SEVERITY_NONE, fence_id="yard")
    gateway.publish(quiet, alert=False)
    items = page.get_by_test_id("alert-item")
    expect(items).to_have_count(2)
    expect(items.first).to_contain_text(f"{second.name} entered Yard")
    page.get_by_test_id("feed-all").click()
    expect(items).to_have_count(3)
    page.get_by_test_id("feed-alerts").click()
    items.first.get_by_role("button").first.click()
    expect(page.get_by_test_id("vehicle-name")).to_have_text(second.name)
    until(lambda: page.evaluate("window.drover.zoom() > 12.9 && window.drover.atRest()"))
    event = json_view.event(gateway.events[1])
    x, y = pixel(page, event["longitude_deg"], event["latitude_deg"])
    assert math.hypot(x - 640, y - 400) < 5


def test_an_event_at_a_fence_is_explained_on_asking(page: Page, gateway: FakeGateway) -> None:
    gateway.explanations["yard"] = ["It was confirmed by one fix."]
    open_page(page, gateway)
    truck = gateway.world.trucks[0]
    now_us = time.time_ns() // 1000
    told = (("geofence_entered", "yard"), ("geofence_exited", "gone"))
    for second, (kind, fence_id) in enumerate(told):
        gateway.publish(gateway.world.event(kind, truck, now_us + second, Severity.SEVERITY_WARNING, fence_id=fence_id))
    items = page.get_by_test_id("alert-item")
    expect(items).to_have_count(2)
    answers = page.get_by_test_id("alert-answer")
    expect(answers.last).to_be_hidden()
    items.last.get_by_test_id("alert-why").click()
    expect(answers.last.get_by_role("listitem")).to_have_text(
        [f"{truck.device_id} at {json_view.time_text(now_us)[:23]}Z", "It was confirmed by one fix."]
    )
    items.first.get_by_test_id("alert-why").click()
    expect(answers.first).to_have_text("there is no such fence")
    items.first.get_by_test_id("alert-why").click()
    expect(answers.first).to_be_hidden()


def test_a_polygon_is_drawn_saved_edited_and_deleted(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    look(page, 5.0, 51.5, 9)
    page.get_by_test_id("tab-fences").click()
    page.get_by_test_id("draw-polygon").click()
    corners = [(4.9, 51.45), (5.1, 51.45), (5.1, 51.55), (4.9, 51.55)]
    for corner in corners:
        click(page, *corner)
    page.keyboard.press("Enter")
    page.get_by_test_id("fence-name").fill("New yard")
    page.get_by_test_id("fence-save").click()
    row = page.get_by_test_id("fence-row")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("New yard")
    (feature,) = gateway.fences.values()
    ring = feature["geometry"]["coordinates"][0]
    assert len(ring) == 5
    for drawn, wanted in zip(ring, corners, strict=False):
        assert drawn == pytest.approx(wanted, abs=0.003)
    x, y = pixel(page, 5.0, 51.45)
    assert colour_count(page, {"x": x - 40, "y": y - 4, "width": 80, "height": 8}, (0x9D, 0x8C, 0xFF), 40) > 40

    page.get_by_test_id("fence-edit").click()
    until(lambda: page.evaluate("window.drover.zoom() > 10 && window.drover.atRest()"))  # it flies to the fence
    page.mouse.move(*pixel(page, *ring[0]))
    page.mouse.down()
    page.mouse.move(*pixel(page, 4.93, 51.47), steps=4)
    page.mouse.up()
    page.get_by_test_id("fence-save").click()
    expect(page.get_by_test_id("draw-panel")).to_be_hidden()
    (feature,) = gateway.fences.values()
    assert feature["properties"]["version"] == 2
    assert feature["geometry"]["coordinates"][0][0] == pytest.approx((4.93, 51.47), abs=0.003)

    page.get_by_test_id("fence-delete").click()
    assert len(gateway.fences) == 1, "deleted without asking"
    page.get_by_test_id("fence-delete").click()
    expect(row).to_have_count(0)
    assert gateway.fences == {}


def test_a_circle_is_drawn(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    look(page, 5.0, 51.5, 10)
    page.get_by_test_id("tab-fences").click()
    page.get_by_test_id("draw-circle").click()
    click(page, 5.0, 51.5)
    click(page, 5.0, 51.53)
    page.get_by_test_id("fence-name").fill("Ring")
    page.get_by_test_id("fence-radius").fill("2500")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("fence-row")).to_contain_text("Ring")
    (feature,) = gateway.fences.values()
    assert feature["geometry"]["coordinates"] == pytest.approx((5.0, 51.5), abs=0.002)
    assert feature["properties"]["radius_m"] == 2500


def test_a_refused_fence_says_why_and_is_kept(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    look(page, 5.0, 51.5, 10)
    page.get_by_test_id("tab-fences").click()
    page.get_by_test_id("draw-polygon").click()
    for corner in ((4.95, 51.47), (5.05, 51.53), (5.05, 51.47), (4.95, 51.53)):
        click(page, *corner)
    page.keyboard.press("Enter")
    page.get_by_test_id("fence-name").fill("Bow tie")
    page.get_by_test_id("fence-save").click()
    expect(page.get_by_test_id("fence-error")).to_contain_text("cross")
    expect(page.get_by_test_id("fence-save")).to_be_enabled()
    page.get_by_test_id("draw-cancel").first.click()
    expect(page.get_by_test_id("draw-panel")).to_be_hidden()
    assert gateway.fences == {}


def test_fences_that_others_change_follow(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    page.get_by_test_id("tab-fences").click()
    point = {"type": "Point", "coordinates": [5.0, 51.5]}
    for version, name in ((1, "Dock"), (2, "Dock 2")):
        properties = {"name": name, "radius_m": 3000, "version": version}
        gateway.fences["dock"] = {"type": "Feature", "id": "dock", "geometry": point, "properties": properties}
        gateway.tell({"type": "definition_changed", "kind": "fence", "id": "dock"})
        expect(page.get_by_test_id("fence-row")).to_have_text(name)
    del gateway.fences["dock"]
    gateway.tell({"type": "definition_changed", "kind": "fence", "id": "dock"})
    expect(page.get_by_test_id("fence-row")).to_have_count(0)


def test_someone_elses_edit_is_not_overwritten(page: Page, gateway: FakeGateway) -> None:
    point = {"type": "Point", "coordinates": [5.0, 51.5]}
    properties = {"name": "Dock", "radius_m": 3000, "version": 1}
    gateway.fences["dock"] = {"type": "Feature", "id": "dock", "geometry": point, "properties": properties}
    open_page(page, gateway)
    page.get_by_test_id("tab-fences").click()
    page.get_by_test_id("fence-row").get_by_role("button").first.click()
    page.get_by_test_id("fence-edit").click()
    gateway.fences["dock"]["properties"]["version"] = 5
    page.get_by_test_id("fence-save").click()
    expect(page.get_by_test_id("fence-error")).to_contain_text("Someone else")


def test_a_lost_connection_comes_back_where_it_was(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    page.wait_for_timeout(1200)
    asked = len(gateway.requests)
    gateway.drop_connections()
    expect(page.get_by_test_id("connection")).to_have_attribute("data-phase", "reconnecting")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-phase", "live")
    assert gateway.subscriptions[-1].resume == "fake.1"
    assert gateway.subscriptions[-1].sequence is not None
    assert len(vehicles(page)) == TRUCKS
    # What is not on the socket is asked for again.
    until(lambda: {"GET /v1/geofences", "GET /v1/events"} <= set(gateway.requests[asked:]))


def test_missed_events_are_fetched(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    expect(page.get_by_test_id("alert-item")).to_have_count(0)
    truck = gateway.world.trucks[0]
    missed = gateway.world.event(
        "geofence_entered", truck, time.time_ns() // 1000, Severity.SEVERITY_INFO, fence_name="A"
    )
    gateway.events.append(missed)
    gateway.tell({"type": "events_missed", "count": 1})
    expect(page.get_by_test_id("alert-item")).to_have_count(1)


def test_an_expired_demo_token_is_replaced(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    gateway.accepts_token = False
    gateway.drop_connections(4401)
    until(lambda: gateway.accepts_token)  # a demo session was asked for
    expect(page.get_by_test_id("connection")).to_have_attribute("data-phase", "live")
    expect(page.get_by_test_id("sign-in")).to_be_hidden()


def test_a_token_in_the_address_is_used_and_stripped(page: Page, gateway: FakeGateway) -> None:
    gateway.demo = False
    open_page(page, gateway, f"#token={token('viewer')}")
    assert page.url == gateway.url
    page.reload()
    expect(page.get_by_test_id("connection")).to_have_attribute("data-phase", "live")
    page.get_by_test_id("tab-fences").click()
    expect(page.get_by_test_id("draw-polygon")).to_be_hidden()  # a viewer edits nothing


def test_without_a_token_the_page_asks_for_one(page: Page, gateway: FakeGateway) -> None:
    gateway.demo = False
    page.goto(gateway.url)
    dialog = page.get_by_test_id("sign-in")
    expect(dialog).to_be_visible()
    page.get_by_test_id("token-input").fill("nonsense")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("not a token")
    page.get_by_test_id("token-input").fill(token())
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.get_by_test_id("connection")).to_have_attribute("data-phase", "live")


def test_a_big_fleet_is_followed_by_viewport(page: Page, gateway: FakeGateway) -> None:
    gateway.map_settings["everything_limit"] = TRUCKS // 2
    open_page(page, gateway)
    assert gateway.subscriptions[0].everything is True
    until(lambda: gateway.subscriptions[-1].viewport)
    look(page, 4.4, 51.9, 11)
    until(lambda: "viewport" in page.evaluate("window.drover.subscription()"))

    def only_nearby() -> bool:
        west, south, east, north = page.evaluate("window.drover.subscription().viewport")
        known = vehicles(page).values()
        return 0 < len(known) < TRUCKS and all(
            west <= each["longitudeDeg"] <= east and south <= each["latitudeDeg"] <= north for each in known
        )

    until(only_nearby)


def test_the_light_theme_is_drawn_when_asked_for(page: Page, gateway: FakeGateway) -> None:
    open_page(page, gateway)
    look(page, 3.0, 52.6, 8)
    sea = {"x": 500, "y": 300, "width": 60, "height": 60}
    until(lambda: colour_count(page, sea, (0x0C, 0x13, 0x1B), 12) > 3000)
    page.emulate_media(color_scheme="light")
    until(lambda: colour_count(page, sea, (0xD9, 0xE4, 0xEC), 12) > 3000)
