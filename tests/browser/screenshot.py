"""Takes a picture of the live map, fed by a made-up fleet: `python -m tests.browser.screenshot PICTURE.png`.

The page must be built (`make web`). `--light` and `--size` choose how it looks; `--select` opens a vehicle's details.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

from playwright.sync_api import Page, sync_playwright

from drover.telemetry.v1.reading_pb2 import Quantity
from drover.tracking.v1.event_pb2 import Severity
from tests.browser.chromium import ARGUMENTS, EXECUTABLE
from tests.browser.fake_gateway import FakeGateway, in_minutes
from tests.browser.world import CITIES, World


def furnish(gateway: FakeGateway) -> str:
    """Fences, events and a shipment, so that every part of the page has something to show. The id of a vehicle to look
    at: on the road, with a shipment.
    """
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
            excursion = {"quantity": Quantity.QUANTITY_TEMPERATURE_CELSIUS, "value": 9.4 + k / 20, "bound": 8.0}
            event = world.event("excursion_opened", truck, at_us, Severity.SEVERITY_CRITICAL, **excursion)
        else:
            kind = "geofence_entered" if k % 2 else "geofence_exited"
            severity = Severity.SEVERITY_WARNING if k % 5 == 1 else Severity.SEVERITY_INFO
            event = world.event(kind, truck, at_us, severity, fence_id=name.lower(), fence_name=f"{name} terminal")
        gateway.events.append(event)
    truck = next(
        truck
        for truck in world.trucks
        if truck.silent_s == 0.0 and truck.ends == ("Rotterdam", "Breda") and 18_000 < truck.at_m < 32_000
    )
    stops: list[dict[str, object]] = [
        {
            "stop_id": "a",
            "name": f"{truck.ends[0]} terminal",
            "arrived_at": in_minutes(-95),
            "departed_at": in_minutes(-40),
        },
        {
            "stop_id": "b",
            "name": f"{truck.ends[1]} depot",
            "arrived_at": None,
            "departed_at": None,
            "missed_at": in_minutes(-4),
        },
        {"stop_id": "c", "name": "Cold store Venlo", "arrived_at": None, "departed_at": None},
    ]
    shipment = {"shipment_id": "sh-2041", "reference": "PO 2041 · vaccines", "device_id": truck.device_id}
    gateway.shipments.append({**shipment, "status": "in_transit", "stops": stops, "exceptions": []})
    etas = [
        {
            "stop_id": stop_id,
            "p10_at": in_minutes(p10),
            "p50_at": in_minutes(p50),
            "p90_at": in_minutes(p90),
            "passed": False,
        }
        for stop_id, p10, p50, p90 in (("b", 21, 26, 38), ("c", 120, 141, 175))
    ]
    gateway.etas["sh-2041"] = {"stops": etas, "reasons": []}
    return truck.device_id


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
    parser.add_argument("--select", help="a device id, or `none`; else one with a shipment")
    parser.add_argument("--look", help="longitude,latitude,zoom")
    parser.add_argument("--scale", type=float, default=1.0)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    gateway = FakeGateway(World(given.vehicles))
    shown = furnish(gateway)
    with gateway.running(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme="light" if given.light else "dark",
            device_scale_factor=given.scale,
        )
        page.on("pageerror", lambda error: print("page error:", error, file=sys.stderr))
        open_page(page, gateway)
        if given.select != "none":
            page.evaluate("id => window.drover.select(id)", given.select or shown)
        if given.look:
            page.evaluate("at => window.drover.look(...at)", [float(part) for part in given.look.split(",")])
        page.wait_for_timeout(3500)
        page.screenshot(path=given.picture)
        browser.close()


if __name__ == "__main__":
    main()
