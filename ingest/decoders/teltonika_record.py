"""What a Teltonika AVL record says, in JSON or in bytes: its GPS element, and its IO elements by AVL id.

Source: Teltonika Telematics wiki, "Data Sending Protocols", section "GPS element", and "FMB Teltonika Data Sending
Parameters ID", permanent I/O elements. Elements that are not here are passed over: what is no quantity of ours
(movement, 240), and what means something else from one family of devices to the next.

Without a fix a tracker repeats the last place it knew, or says 0,0; `satellites` is then 0, which the core takes for no
fix. Speed, angle and altitude are no measurements then (speed is always 0), and are left out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from drover.telemetry.v1.reading_pb2 import (
    QUANTITY_BATTERY_RATIO,
    QUANTITY_IGNITION_ON,
    QUANTITY_ODOMETER_M,
    QUANTITY_TEMPERATURE_CELSIUS,
    QUANTITY_VOLTAGE_V,
    Quantity,
    ReadingBatch,
)

_KMH_PER_MPS: Final = 3.6
MAX_TIME_MS: Final = (2**63 - 1) // 1000
"""Beyond it, microseconds do not fit 64 bits."""


class GpsElement(NamedTuple):
    """As sent: milliseconds, degrees, metres, degrees from north, satellites in use, km/h; None is left out."""

    time_ms: int
    latitude_deg: float
    longitude_deg: float
    altitude_m: float | None
    angle_deg: float | None
    satellites: int | None
    speed_kmh: float | None


def add_position(batch: ReadingBatch, element: GpsElement) -> None:
    """Adds the fix of a record. `time_ms` is at most MAX_TIME_MS."""
    time_ms, latitude_deg, longitude_deg, altitude_m, angle_deg, satellites, speed_kmh = element
    has_fix = satellites != 0
    batch.positions.add(
        observed_at_us=time_ms * 1000,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        altitude_m=altitude_m if has_fix else None,
        speed_mps=speed_kmh / _KMH_PER_MPS if has_fix and speed_kmh is not None else None,
        heading_deg=angle_deg if has_fix else None,
        satellites=satellites,
    )


class _Element(NamedTuple):
    """The value sent, times `scale`, is the quantity; outside `least` to `most` (as sent) it is an error code."""

    quantity: Quantity.ValueType
    probe: int
    scale: float
    least: float
    most: float


_SENSOR_NOT_READY: Final = 850
"""Of the Dallas probes: they wake up at 85.0 degrees. Other codes (2000, 3000, 4000, 5000) are no temperatures."""

ELEMENTS: Final = {
    16: _Element(QUANTITY_ODOMETER_M, 0, 1, 0, 2**32 - 1),
    66: _Element(QUANTITY_VOLTAGE_V, 0, 0.001, 0, 65_535),
    67: _Element(QUANTITY_VOLTAGE_V, 1, 0.001, 0, 65_535),
    72: _Element(QUANTITY_TEMPERATURE_CELSIUS, 0, 0.1, -550, 1150),
    73: _Element(QUANTITY_TEMPERATURE_CELSIUS, 1, 0.1, -550, 1150),
    74: _Element(QUANTITY_TEMPERATURE_CELSIUS, 2, 0.1, -550, 1150),
    75: _Element(QUANTITY_TEMPERATURE_CELSIUS, 3, 0.1, -550, 1150),
    113: _Element(QUANTITY_BATTERY_RATIO, 0, 0.01, 0, 100),
    239: _Element(QUANTITY_IGNITION_ON, 0, 1, 0, 1),
}
"""Voltage 0 is the vehicle's, 1 that of the device's own battery; Dallas temperatures 1 to 4 are probes 0 to 3."""


def add_sample(batch: ReadingBatch, avl_id: int, value: float, observed_at_us: int) -> None:
    """Adds an element as a sample, unless it is none of ELEMENTS or holds an error code.

    `value` is as sent: a temperature may be two's complement of 16 bits, which no temperature is by mistake.
    """
    element = ELEMENTS.get(avl_id)
    if element is None:
        return
    quantity, probe, scale, least, most = element
    if quantity == QUANTITY_TEMPERATURE_CELSIUS:
        value = value - 65_536 if 32_768 <= value < 65_536 else value
        if value == _SENSOR_NOT_READY:
            return
    if least <= value <= most:  # NaN is not
        batch.sensors.add(observed_at_us=observed_at_us, quantity=quantity, value=value * scale, probe=probe)
