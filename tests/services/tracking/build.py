"""Readings, made for a purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from services.tracking.history_rows import Judged
from tracking_core.columns import (
    NO_SATELLITES,
    NO_SEQUENCE,
    NO_TIME,
    PositionColumns,
    Readings,
    SensorColumns,
    TagColumns,
    empty_positions,
    empty_sensors,
    empty_tags,
    no_readings,
)

OK, DUPLICATE, LATE = 1, 2, 9
T0 = 1_700_000_000_000_000
SECOND = 1_000_000


def positions(*rows: dict[str, Any]) -> PositionColumns:
    """One fix a dictionary; what it does not say a device left out."""
    columns = empty_positions(len(rows))
    defaults: dict[str, Any] = {
        "device": 0, "received_at_us": T0, "observed_at_us": T0, "latitude_deg": 1.5, "longitude_deg": 2.5,
        "altitude_m": np.nan, "speed_mps": np.nan, "heading_deg": np.nan, "accuracy_m": np.nan,
        "satellites": NO_SATELLITES, "sequence": NO_SEQUENCE, "sent_at_us": NO_TIME, "is_historical": 0,
    }  # fmt: skip
    return _filled(columns, defaults, rows)


def sensors(*rows: dict[str, Any]) -> SensorColumns:
    """One sample a dictionary."""
    defaults: dict[str, Any] = {
        "device": 0, "received_at_us": T0, "observed_at_us": T0, "quantity": 1, "value": 4.0, "probe": 0,
        "sequence": NO_SEQUENCE, "sent_at_us": NO_TIME,
    }  # fmt: skip
    return _filled(empty_sensors(len(rows)), defaults, rows)


def tags(*rows: dict[str, Any]) -> TagColumns:
    """One tag read a dictionary; `epc` is bytes."""
    defaults: dict[str, Any] = {
        "device": 0, "received_at_us": T0, "observed_at_us": T0, "epc": b"\x30\x01", "antenna": 1, "rssi_dbm": np.nan,
        "sequence": NO_SEQUENCE, "sent_at_us": NO_TIME,
    }  # fmt: skip
    split = []
    for row in ({**defaults, **row} for row in rows):
        epc = row.pop("epc")
        number = int.from_bytes(epc, "big")
        split.append({**row, "epc_high": number >> 64, "epc_low": number & (2**64 - 1), "epc_length": len(epc)})
    return _filled(empty_tags(len(rows)), {}, split)


def _filled(columns: Any, defaults: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Any:
    for index, row in enumerate(rows):
        for name, value in {**defaults, **row}.items():
            getattr(columns, name)[index] = value
    return columns


def readings(
    fixes: PositionColumns | None = None, samples: SensorColumns | None = None, reads: TagColumns | None = None
) -> Readings:
    """A batch of these."""
    nothing = no_readings()
    return Readings(
        nothing.positions if fixes is None else fixes,
        nothing.sensors if samples is None else samples,
        nothing.tags if reads is None else reads,
    )


def judged(batch: Readings, verdict: int = OK, position_verdicts: Sequence[int] | None = None) -> Judged:
    """A batch with one verdict on all, or one a position."""
    fixes = np.full(len(batch.positions.device), verdict, np.uint8)
    if position_verdicts is not None:
        fixes = np.array(position_verdicts, np.uint8)
    return Judged(
        batch,
        fixes,
        np.full(len(batch.sensors.device), verdict, np.uint8),
        np.full(len(batch.tags.device), verdict, np.uint8),
    )
