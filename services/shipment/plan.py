"""From what a tenant asks for to a shipment: every mistake is one Problem with a code. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import operator
import re
from collections.abc import Iterable
from typing import Final

from runtime.problems import Invalid
from services.shipment.commands import CreateShipment, PlannedLimit, PlannedStop
from services.shipment.model import HandlingUnit, Limit, Shipment, ShipmentId, Stop

DEFAULT_RADIUS_M: Final = 200.0
LARGEST_RADIUS_M: Final = 50_000.0
MOST_STOPS: Final = 100
MOST_LIMITS: Final = 32
MOST_UNITS: Final = 2_000
MOST_ROUTE_POINTS: Final = 50_000
LONGEST_TEXT: Final = 256
LONGEST_DEVICE_ID: Final = 64
LONGEST_EPC_BYTES: Final = 16
LATEST_TIME_US: Final = 253_402_300_799_999_999
"""The end of the year 9999, the last that RFC 3339 can write."""

# Shorter than a fence id may be, for ours are made of both.
_SHIPMENT_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_STOP_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,48}")
_FENCE_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_DEVICE_ID: Final = re.compile(rf"[A-Za-z0-9_.:-]{{1,{LONGEST_DEVICE_ID}}}")


class InvalidShipment(Invalid):
    """A shipment that cannot be; `code` says which rule it breaks, the message where."""


_PLANNED: Final = operator.attrgetter(
    "stop_id", "name", "longitude_deg", "latitude_deg", "fence_id", "radius_m", "planned_arrival_us", "service_time_us"
)


def shipment_of(command: CreateShipment, shipment_id: ShipmentId, now_us: int) -> Shipment:
    """A new shipment of that id. Raises InvalidShipment for the first mistake found."""
    _check(_SHIPMENT_ID.fullmatch(shipment_id), "bad_shipment_id", "shipment_id: 1 to 64 of A-Z a-z 0-9 _ . : -")
    _check(command.device_id, "device_missing", "device_id: a shipment is carried by a device")
    _check(_DEVICE_ID.fullmatch(command.device_id), "bad_device_id", "device_id: 1 to 64 of A-Z a-z 0-9 _ . : -")
    check_text("reference", command.reference)
    _check(command.stops, "no_stops", "stops: a shipment has at least one")
    _check_count("stops", len(command.stops), MOST_STOPS)
    _check_count("limits", len(command.limits), MOST_LIMITS)
    _check_count("handling_units", len(command.handling_units), MOST_UNITS)
    for number, stop in enumerate(command.stops, 1):
        _check_stop(f"stop {number}", stop)
    _check_distinct("duplicate_stop_id", "stop_id", (stop.stop_id for stop in command.stops))
    _check_arrivals(command.stops)
    for number, limit in enumerate(command.limits, 1):
        _check_limit(f"limit {number}", limit)
    for number, unit in enumerate(command.handling_units, 1):
        sized = 1 <= len(unit.epc) <= LONGEST_EPC_BYTES
        _check(sized, "bad_epc", f"handling unit {number}: an EPC has 1 to {LONGEST_EPC_BYTES} bytes")
        check_text(f"handling unit {number}: name", unit.name)
    _check_distinct("duplicate_epc", "epc", (unit.epc.hex() for unit in command.handling_units))
    _check_route(command)
    shipment = Shipment(
        tenant=command.tenant,
        shipment_id=shipment_id,
        reference=command.reference,
        device_id=command.device_id,
        stops=tuple(_stop_of(shipment_id, stop) for stop in command.stops),
        limits=tuple(_limit_of(shipment_id, number, limit) for number, limit in enumerate(command.limits, 1)),
        handling_units=tuple(HandlingUnit(unit.epc, unit.name) for unit in command.handling_units),
        route_longitude_deg=command.route_longitude_deg,
        route_latitude_deg=command.route_latitude_deg,
        content_digest="",
        created_at_us=now_us,
        updated_at_us=now_us,
    )
    return dataclasses.replace(shipment, content_digest=_digest(shipment))


def check_text(where: str, text: str) -> None:
    """Raises InvalidShipment when a text is too long to be kept."""
    _check(len(text) <= LONGEST_TEXT, "too_long", f"{where}: longer than {LONGEST_TEXT} characters")


def _stop_of(shipment_id: ShipmentId, stop: PlannedStop) -> Stop:
    made = not stop.fence_id
    return Stop(
        stop_id=stop.stop_id,
        name=stop.name,
        longitude_deg=stop.longitude_deg,
        latitude_deg=stop.latitude_deg,
        fence_id=f"shipment:{shipment_id}:{stop.stop_id}" if made else stop.fence_id,
        radius_m=(stop.radius_m or DEFAULT_RADIUS_M) if made else None,
        planned_arrival_us=stop.planned_arrival_us,
        service_time_us=stop.service_time_us,
    )


def _limit_of(shipment_id: ShipmentId, number: int, limit: PlannedLimit) -> Limit:
    return Limit(limit_id=f"shipment:{shipment_id}:{number}", **dataclasses.asdict(limit))


def _digest(shipment: Shipment) -> str:
    """Stands for all that was asked for, defaults filled in. Python's repr of a float is exact.

    Each part by name: what a later version keeps of a shipment besides is not asked for.
    """
    asked = (
        *(shipment.tenant, shipment.shipment_id, shipment.reference, shipment.device_id),
        [_PLANNED(stop) for stop in shipment.stops],
        [dataclasses.astuple(limit) for limit in shipment.limits],
        [(unit.epc, unit.name) for unit in shipment.handling_units],
        *(shipment.route_longitude_deg, shipment.route_latitude_deg),
    )
    return hashlib.blake2b(repr(asked).encode(), digest_size=16).hexdigest()


def _check(holds: object, code: str, message: str) -> None:
    if not holds:
        raise InvalidShipment(message, code=code)


def _check_count(where: str, count: int, most: int) -> None:
    _check(count <= most, f"too_many_{where}", f"{where}: {count} are given, {most} are allowed")


def _check_distinct(code: str, where: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        _check(value not in seen, code, f"{where}: {value!r} is given twice")
        seen.add(value)


def _check_place(where: str, longitude_deg: float, latitude_deg: float) -> None:
    # Comparisons with NaN are false.
    on_earth = -180.0 <= longitude_deg <= 180.0 and -90.0 <= latitude_deg <= 90.0
    _check(
        on_earth,
        "coordinate_out_of_range",
        f"{where}: longitude {longitude_deg:g}, latitude {latitude_deg:g} is no place on Earth",
    )


def _check_stop(where: str, stop: PlannedStop) -> None:
    _check(_STOP_ID.fullmatch(stop.stop_id), "bad_stop_id", f"{where}: stop_id: 1 to 48 of A-Z a-z 0-9 _ . : -")
    check_text(f"{where}: name", stop.name)
    _check_place(where, stop.longitude_deg, stop.latitude_deg)
    fence_fits = not stop.fence_id or _FENCE_ID.fullmatch(stop.fence_id)
    _check(fence_fits, "bad_fence_id", f"{where}: fence_id: 1 to 128 of A-Z a-z 0-9 _ . : -")
    radius_fits = 0.0 <= stop.radius_m <= LARGEST_RADIUS_M
    _check(radius_fits, "bad_radius", f"{where}: radius_m is {stop.radius_m:g}, not between 0 and {LARGEST_RADIUS_M:g}")
    _check(stop.service_time_us >= 0, "bad_service_time", f"{where}: service_time_us is negative")
    planned_us = stop.planned_arrival_us
    _check(planned_us is None or 0 < planned_us <= LATEST_TIME_US, "bad_planned_arrival", f"{where}: no such time")


def _check_arrivals(stops: tuple[PlannedStop, ...]) -> None:
    planned = [(stop.planned_arrival_us, stop.stop_id) for stop in stops if stop.planned_arrival_us is not None]
    for (earlier_us, _), (later_us, stop_id) in itertools.pairwise(planned):
        message = f"stop {stop_id!r}: planned arrival before that of an earlier stop"
        _check(earlier_us <= later_us, "planned_arrivals_out_of_order", message)


def _check_limit(where: str, limit: PlannedLimit) -> None:
    _check(limit.quantity > 0, "quantity_missing", f"{where}: quantity is missing")
    bounds = [bound for bound in (limit.minimum, limit.maximum) if bound is not None]
    _check(bounds, "limit_without_bound", f"{where}: neither minimum nor maximum is given")
    finite = all(math.isfinite(value) for value in (*bounds, limit.hysteresis))
    _check(finite, "not_finite", f"{where}: a bound is not a number")
    _check(bounds == sorted(bounds), "bounds_reversed", f"{where}: the minimum is above the maximum")
    _check(limit.hysteresis >= 0, "bad_hysteresis", f"{where}: hysteresis is negative")
    _check(limit.minimum_duration_us >= 0, "bad_duration", f"{where}: minimum_duration_us is negative")


def _check_route(command: CreateShipment) -> None:
    longitudes_deg, latitudes_deg = command.route_longitude_deg, command.route_latitude_deg
    message = f"route: {len(longitudes_deg)} longitudes, {len(latitudes_deg)} latitudes"
    _check(len(longitudes_deg) == len(latitudes_deg), "route_lengths_differ", message)
    _check(len(longitudes_deg) != 1, "route_too_short", "route: a line has at least two points")
    _check_count("route_points", len(longitudes_deg), MOST_ROUTE_POINTS)
    for number, place in enumerate(zip(longitudes_deg, latitudes_deg, strict=True), 1):
        _check_place(f"route point {number}", *place)
