"""Takes a picture of the live map, fed by a made-up fleet: `python -m tests.browser.screenshot PICTURE.png`.

The page must be built (`make web`). `--light` and `--size` choose how it looks; `--select` opens a vehicle's details.
"""

from __future__ import annotations

import argparse
import math
import time

from playwright.sync_api import Page, sync_playwright

from drover.telemetry.v1.reading_pb2 import Quantity
from drover.tracking.v1.event_pb2 import Severity
from tests.browser.chromium import ARGUMENTS, EXECUTABLE
from tests.browser.fake_gateway import FakeGateway, in_minutes
from tests.browser.world import CITIES, World


def furnish(gateway: FakeGateway) -> None:
    """Fences, events and a shipment, so that every part of the page has something to show."""
    for name, radius_m in (("Rotterdam", 7000), ("Antwerp", 6500), ("Amsterdam", 5000), ("Brussels", 4500)):
        longitude, latitude = CITIES[name]
        feature = {
            "type": "Feature",
            "id": name.lower(),
            "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
            "properties": {"name": f"{name} terminal", "radius_m": radius_m, "version": 1},
        }
        gateway.fences[name.lower()] = feature
    longitude, latitude = CITIES["Utrecht"]
    ring = [
        [longitude + (0.12 + 0.03 * math.sin(3 * angle)) * math.cos(angle), latitude + 0.08 * math.sin(angle)]
        for angle in (k * math.tau / 24 for k in range(25))
    ]
    ring[-1] = ring[0]
    gateway.fences["utrecht"] = {
        "type": "Feature",
        "id": "utrecht",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"name": "Utrecht low-emission zone", "version": 1},
    }
    gateway.fences["a67"] = {
        "type": "Feature",
        "id": "a67",
        "geometry": {
            "type": "LineString",
            "coordinates": [list(CITIES["Breda"]), [5.1, 51.52], list(CITIES["Eindhoven"])],
        },
        "properties": {"name": "Corridor A58", "half_width_m": 2500, "version": 1},
    }
    now_us = time.time_ns() // 1000
    world = gateway.world
    for k in range(60):
        truck = world.random.choice(world.trucks)
        at_us = now_us - k * 37_000_000
        name = world.random.choice(["Rotterdam", "Antwerp", "Amsterdam", "Brussels"])
        if k % 7 == 3:
            event = world.event("excursion_opened", truck, at_us, Severity.SEVERITY_CRITICAL, limit_id="cold",
                                quantity=Quantity.QUANTITY_TEMPERATURE_CELSIUS, value=9.4 + k / 20, bound=8.0)  # fmt: skip
        else:
            kind = "geofence_entered" if k % 2 else "geofence_exited"
            severity = Severity.SEVERITY_WARNING if k % 5 == 1 else Severity.SEVERITY_INFO
            event = world.event(kind, truck, at_us, severity, fence_id=name.lower(), fence_name=f"{name} terminal")
        gateway.events.append(event)
    truck = world.trucks[11]
    gateway.shipments.append({
        "shipment_id": "sh-2041", "reference": "PO 2041 · vaccines", "device_id": truck.device_id, "status": "in_transit",
        "stops": [
            {"stop_id": "a", "name": f"{truck.ends[0]} terminal", "arrived_at": in_minutes(-95), "departed_at": in_minutes(-40)},
            {"stop_id": "b", "name": f"{truck.ends[1]} depot", "arrived_at": None, "departed_at": None},
            {"stop_id": "c", "name": "Cold store Venlo", "arrived_at": None, "departed_at": None,
             "planned_arrival_at": in_minutes(150)},
        ],
        "exceptions": [],
    })  # fmt: skip
    gateway.etas["sh-2041"] = {
        "route_id": "sh-2041", "device_id": truck.device_id, "method": "route_pace", "reasons": [],
        "stops": [
            {"stop_id": "b", "p10_at": in_minutes(21), "p50_at": in_minutes(26), "p90_at": in_minutes(38), "passed": False},
            {"stop_id": "c", "p10_at": in_minutes(120), "p50_at": in_minutes(141), "p90_at": in_minutes(175), "passed": False},
        ],
    }  # fmt: skip


def open_page(page: Page, gateway: FakeGateway) -> None:
    """Opens the page and waits until vehicles are drawn."""
    page.goto(gateway.url)
    while not page.evaluate("window.drover?.vehicles().length > 0 && window.drover.frames() > 3"):
        page.wait_for_timeout(100)
    page.wait_for_timeout(2500)


def main() -> None:
    """Parses the arguments and takes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture")
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--size", default="1280x800")
    parser.add_argument("--vehicles", type=int, default=300)
    parser.add_argument("--select", default="truck-012")
    parser.add_argument("--look", help="longitude,latitude,zoom")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--run", help="JavaScript to run before the picture")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    gateway = FakeGateway(World(given.vehicles))
    furnish(gateway)
    with gateway.running(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="light" if given.light else "dark",
            device_scale_factor=given.scale,
        )
        page.on("console", lambda message: print(message.type, message.text))
        page.on("pageerror", lambda error: print("page error:", error))
        open_page(page, gateway)
        if given.select:
            page.evaluate("id => window.drover.select(id)", given.select)
        if given.look:
            page.evaluate("at => window.drover.look(...at)", [float(part) for part in given.look.split(",")])
        if given.run:
            page.evaluate(given.run)
        page.wait_for_timeout(3500)
        page.screenshot(path=given.picture)
        print("frames", page.evaluate("window.drover.frames()"), "link", page.evaluate("window.drover.link()"))
        browser.close()


if __name__ == "__main__":
    main()
