"""Columns to rows: what goes into the reading tables, sorted as they are, and what it adds to the accounts.

Works on whole flushes in a thread of its own. Repetitions that the engine has recognised are counted here and made no
rows of, and so are those within the flush; those only SQL remembers are found by the primary key, which is made of the
device, the time and the content. Whoever finds it, a repetition counts as a duplicate and as nothing else, so that
repeating a day changes no other number.
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from drover.tracking.v1.event_pb2 import Verdict
from services.tracking.directory import Directory
from tracking_core.columns import (
    I32,
    I64,
    NO_SATELLITES,
    NO_SEQUENCE,
    NO_TIME,
    U8,
    U64,
    PositionColumns,
    Readings,
    SensorColumns,
    TagColumns,
    concatenate,
    take,
)
from tracking_core.content_hash import SEED, mixed
from tracking_core.step_result import VerdictChangeColumns, no_verdict_changes

Counters = collections.Counter[tuple[str, str]]
"""Amounts by tenant and counter; counters are named in docs/history.md."""

VERDICTS: Final = 256


class ReadingKind(enum.StrEnum):
    """The reading tables, and the first word of their counters."""

    POSITIONS = "positions"
    SENSORS = "sensors"
    TAGS = "tags"


class Judged(NamedTuple):
    """Readings with the engine's verdict on each, by Verdict number."""

    readings: Readings
    position_verdicts: U8
    sensor_verdicts: U8
    tag_verdicts: U8
    changes: VerdictChangeColumns = no_verdict_changes()
    """Verdicts that these readings gave to positions stored before."""


class VerdictChange(NamedTuple):
    """The row of `positions` with this key has another verdict now."""

    device_number: int
    observed_at_us: int
    content_hash: int
    before: int
    after: int


class TenantRows(NamedTuple):
    """Rows of one kind, tenant and verdict, each key once, in the order of the table's key. Columns in which nothing
    stands are left out.
    """

    kind: ReadingKind
    tenant: str
    verdict: int
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


def rows_of(judged: Sequence[Judged], directory: Directory, counters: Counters) -> list[TenantRows]:
    """The rows to store of some entries, and, in `counters`, what was read, repeated and judged."""
    if not judged:
        return []
    found: list[TenantRows] = []
    for kind, columns, verdict, build in (
        (
            ReadingKind.POSITIONS,
            concatenate([each.readings.positions for each in judged]),
            np.concatenate([each.position_verdicts for each in judged]),
            _position_columns,
        ),
        (
            ReadingKind.SENSORS,
            concatenate([each.readings.sensors for each in judged]),
            np.concatenate([each.sensor_verdicts for each in judged]),
            _sensor_columns,
        ),
        (
            ReadingKind.TAGS,
            concatenate([each.readings.tags for each in judged]),
            np.concatenate([each.tag_verdicts for each in judged]),
            _tag_columns,
        ),
    ):
        if len(columns.device):
            found += _rows_of_kind(kind, columns, verdict, build, directory, counters)
    return found


def verdict_changes(judged: Sequence[Judged], directory: Directory, counters: Counters) -> list[VerdictChange]:
    """The changes of some entries, in order, and in `counters` what they do to the accounts."""
    found: list[VerdictChange] = []
    for each in judged:
        if len(each.changes.device):
            tenant = directory.tenant_codes(each.changes.device).tolist()
            changes = each.changes
            columns = (
                changes.device,
                changes.observed_at_us,
                changes.content.view(np.int64),
                changes.before,
                changes.after,
            )
            rows = list(map(VerdictChange._make, zip(*(column.tolist() for column in columns), strict=True)))
            for code, row in zip(tenant, rows, strict=True):
                counters[directory.tenants[code], f"positions_verdict_{row.before}"] -= 1
                counters[directory.tenants[code], f"positions_verdict_{row.after}"] += 1
            found += rows
    return found


def _rows_of_kind(
    kind: ReadingKind,
    columns: Any,
    verdict: U8,
    build: Callable[[Any], dict[str, npt.NDArray[Any] | list[Any]]],
    directory: Directory,
    counters: Counters,
) -> Iterable[TenantRows]:
    tenant = directory.tenant_codes(columns.device)
    _count(kind, tenant, verdict, directory.tenants, counters)
    content = CONTENT_HASH[kind](columns)
    kept = np.flatnonzero(verdict != Verdict.VERDICT_DUPLICATE)
    keys = (content[kept], columns.observed_at_us[kept], columns.device[kept])
    by_key = np.lexsort((*keys, tenant[kept]))
    repeats = np.zeros(len(by_key), np.bool_)
    # Of equal keys the first to come is stored: the sort is stable.
    repeats[1:] = np.logical_and.reduce([np.diff(key[by_key]) == 0 for key in keys])
    order = kept[by_key]
    for name, number, amount in _by_verdict(tenant[order[repeats]], verdict[order[repeats]], directory.tenants):
        count_repeated(counters, name, kind, number, amount)
    order = order[~repeats]
    if not len(order):
        return
    order = order[np.lexsort((verdict[order], tenant[order]))]
    edges = np.flatnonzero(np.diff(tenant[order].astype(np.int64) * VERDICTS + verdict[order])) + 1
    for part in np.split(order, edges):
        chosen = take(columns, part)
        built = {
            "device_number": chosen.device,
            "observed_at_us": chosen.observed_at_us,
            "content_hash": content[part],
            "received_at_us": chosen.received_at_us,
            "verdict": verdict[part],
            **build(chosen),
            "sequence": _or_null(chosen.sequence, chosen.sequence == NO_SEQUENCE),
            "sent_at_us": _or_null(chosen.sent_at_us, chosen.sent_at_us == NO_TIME),
        }
        filled = {name: values for name, values in built.items() if len(values)}
        lists = (values if isinstance(values, list) else values.tolist() for values in filled.values())
        name, same = directory.tenants[tenant[part[0]]], int(verdict[part[0]])
        yield TenantRows(kind, name, same, tuple(filled), list(zip(*lists, strict=True)))


def count_repeated(counters: Counters, tenant: str, kind: ReadingKind, verdict: int, amount: int) -> None:
    """Corrects what was counted as read with a verdict, when it turns out to repeat what is stored."""
    counters[tenant, f"{kind}_verdict_{verdict}"] -= amount
    counters[tenant, f"{kind}_verdict_{Verdict.VERDICT_DUPLICATE}"] += amount
    counters[tenant, f"{kind}_repeated"] += amount


def _by_verdict(tenant: I32, verdict: U8, tenants: Sequence[str]) -> Iterable[tuple[str, int, int]]:
    """Tenant, verdict, and how many."""
    pairs, amounts = np.unique(tenant.astype(np.int64) * VERDICTS + verdict, return_counts=True)
    for pair, amount in zip(pairs.tolist(), amounts.tolist(), strict=True):
        yield tenants[pair // VERDICTS], pair % VERDICTS, amount


def _count(kind: ReadingKind, tenant: I32, verdict: U8, tenants: Sequence[str], counters: Counters) -> None:
    for name, number, amount in _by_verdict(tenant, verdict, tenants):
        counters[name, f"{kind}_read"] += amount
        counters[name, f"{kind}_verdict_{number}"] += amount
        if number == Verdict.VERDICT_DUPLICATE:
            counters[name, f"{kind}_repeated"] += amount


def _or_null(column: npt.NDArray[Any], absent: npt.NDArray[np.bool_]) -> npt.NDArray[Any] | list[Any]:
    """The column with None where it is absent; an empty list when it is absent everywhere: a bulk insert needs a type
    for each column, and a column that is not named is NULL.
    """
    where = np.flatnonzero(absent)
    if not len(where):
        return column
    if len(where) == len(column):
        return []
    values: list[Any] = column.tolist()
    for index in where.tolist():
        values[index] = None
    return values


def _finite(column: npt.NDArray[Any]) -> npt.NDArray[Any] | list[Any]:
    return _or_null(column, ~np.isfinite(column))


def _position_columns(positions: PositionColumns) -> dict[str, npt.NDArray[Any] | list[Any]]:
    names = ("latitude_deg", "longitude_deg", "altitude_m", "speed_mps", "heading_deg", "accuracy_m")
    return {
        **{name: _finite(getattr(positions, name)) for name in names},
        "satellites": _or_null(positions.satellites, positions.satellites == NO_SATELLITES),
    }


def _sensor_columns(sensors: SensorColumns) -> dict[str, npt.NDArray[Any] | list[Any]]:
    return {"quantity": sensors.quantity, "probe": sensors.probe, "value": _finite(sensors.value)}


def _tag_columns(tags: TagColumns) -> dict[str, npt.NDArray[Any] | list[Any]]:
    return {"epc": epcs(tags), "antenna": tags.antenna, "rssi_dbm": _finite(tags.rssi_dbm)}


def epcs(tags: TagColumns) -> list[bytes]:
    """Each tag's EPC as the tag sent it."""
    words = np.column_stack((tags.epc_high, tags.epc_low)).astype(">u8").tobytes()
    return [words[16 * row + 16 - length : 16 * row + 16] for row, length in enumerate(tags.epc_length.tolist())]


def position_hash(positions: PositionColumns) -> I64:
    """64 bits of what a fix says, beside device and time: everything but when it was sent and received, and the
    running number, which a device that repeats itself may change. The engine calls the same readings repetitions.
    """
    return _hash(
        positions.latitude_deg,
        positions.longitude_deg,
        positions.altitude_m,
        positions.speed_mps,
        positions.heading_deg,
        positions.accuracy_m,
        positions.satellites,
    )


def sensor_hash(sensors: SensorColumns) -> I64:
    """64 bits of what a sample says, beside device and time."""
    return _hash(sensors.quantity, sensors.probe, sensors.value)


def tag_hash(tags: TagColumns) -> I64:
    """64 bits of what a tag read says, beside device and time."""
    return _hash(tags.epc_high, tags.epc_low, tags.epc_length, tags.antenna, tags.rssi_dbm)


CONTENT_HASH: Final[dict[ReadingKind, Callable[[Any], I64]]] = {
    ReadingKind.POSITIONS: position_hash,
    ReadingKind.SENSORS: sensor_hash,
    ReadingKind.TAGS: tag_hash,
}


def _hash(*columns: npt.NDArray[Any]) -> I64:
    # As the engine has it, so that it can say which row it means. Part of the stored keys: never change it.
    state: U64 = np.full(len(columns[0]), SEED, np.uint64)
    for column in columns:
        state = mixed(state, _bits(column))
    return state.view(np.int64)


def _bits(column: npt.NDArray[Any]) -> U64:
    if column.dtype.kind == "f":
        # One pattern for all NaN, and one for both zeros.
        wide = column.astype(np.float64)
        return np.where(np.isnan(wide), np.nan, wide + 0.0).view(np.uint64)
    return column.astype(np.int64).view(np.uint64) if column.dtype.kind == "i" else column.astype(np.uint64)
