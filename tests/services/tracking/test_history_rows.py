from __future__ import annotations

import collections
import struct

import numpy as np
import pytest

from services.tracking import history_rows
from services.tracking.directory import Directory
from services.tracking.history_rows import ReadingKind, rows_of
from services.tracking.model import Device
from tests.services.tracking.build import DUPLICATE, LATE, OK, SECOND, T0, judged, positions, readings, sensors, tags

DIRECTORY = Directory([Device(0, "acme", "a", "A"), Device(1, "bolt", "b", ""), Device(5, "acme", "c", "")])


def test_rows_are_sorted_by_tenant_and_key_and_repetitions_only_counted():
    batch = readings(
        positions(
            {"device": 5, "observed_at_us": T0},
            {"device": 0, "observed_at_us": T0 + SECOND},
            {"device": 1},
            {"device": 0, "observed_at_us": T0},
            {"device": 0, "observed_at_us": T0},
        )
    )
    counters: history_rows.Counters = collections.Counter()
    found = rows_of([judged(batch, position_verdicts=[OK, LATE, OK, OK, DUPLICATE])], DIRECTORY, counters)
    assert [(part.kind, part.tenant, part.verdict) for part in found] == [
        (ReadingKind.POSITIONS, "acme", OK),
        (ReadingKind.POSITIONS, "acme", LATE),
        (ReadingKind.POSITIONS, "bolt", OK),
    ]
    assert [[row[:2] for row in part.rows] for part in found] == [[(0, T0), (5, T0)], [(0, T0 + SECOND)], [(1, T0)]]
    assert counters == {
        ("acme", "positions_read"): 4,
        ("acme", "positions_verdict_1"): 2,
        ("acme", "positions_verdict_9"): 1,
        ("acme", "positions_verdict_2"): 1,
        ("acme", "positions_repeated"): 1,
        ("bolt", "positions_read"): 1,
        ("bolt", "positions_verdict_1"): 1,
    }


def test_of_repetitions_that_the_engine_has_forgotten_the_first_is_stored_and_the_others_are_duplicates():
    batch = readings(positions({"sequence": 1}, {"sequence": 2}, {"device": 1, "sequence": 3}, {"sequence": 4}))
    counters: history_rows.Counters = collections.Counter()
    found = rows_of([judged(batch, position_verdicts=[OK, LATE, LATE, OK])], DIRECTORY, counters)
    assert [(part.tenant, part.verdict, [row[-1] for row in part.rows]) for part in found] == [
        ("acme", OK, [1]),
        ("bolt", LATE, [3]),
    ]
    assert +counters == {
        ("acme", "positions_read"): 3,
        ("acme", "positions_verdict_1"): 1,
        ("acme", "positions_verdict_2"): 2,
        ("acme", "positions_repeated"): 2,
        ("bolt", "positions_read"): 1,
        ("bolt", "positions_verdict_9"): 1,
    }


def test_what_a_device_left_out_is_none_and_a_column_of_nothing_is_left_out():
    batch = readings(positions({"speed_mps": 3.5, "satellites": 7}, {"device": 5, "sequence": 12}))
    (part,) = rows_of([judged(batch)], DIRECTORY, collections.Counter())
    first, second = (dict(zip(part.columns, row, strict=True)) for row in part.rows)
    assert (first["speed_mps"], first["satellites"], first["sequence"]) == (3.5, 7, None)
    assert (second["speed_mps"], second["satellites"], second["sequence"]) == (None, None, 12)
    assert "altitude_m" not in part.columns
    assert "sent_at_us" not in part.columns


def test_infinite_numbers_are_nothing_a_column_holds():
    (part,) = rows_of(
        [judged(readings(positions({"altitude_m": np.inf}, {"device": 5, "altitude_m": 8.0})))],
        DIRECTORY,
        collections.Counter(),
    )
    assert [row[part.columns.index("altitude_m")] for row in part.rows] == [None, 8.0]


def test_a_device_that_nobody_announced_is_counted_for_no_tenant():
    counters: history_rows.Counters = collections.Counter()
    (part,) = rows_of([judged(readings(positions({"device": 4_000_000_000})))], DIRECTORY, counters)
    assert part.tenant == ""
    assert counters["", "positions_read"] == 1


def test_entries_without_readings_make_no_rows():
    counters: history_rows.Counters = collections.Counter()
    assert rows_of([judged(readings())], DIRECTORY, counters) == []
    assert rows_of([], DIRECTORY, counters) == []
    assert not counters


@pytest.mark.parametrize("epc", [b"\x00", b"\x30\x00\x01", bytes(range(16)), b"\xff" * 8, b"\xff" * 9])
def test_an_epc_comes_out_as_the_tag_sent_it(epc: bytes):
    assert history_rows.epcs(tags({"epc": b"\x01"}, {"epc": epc}))[1] == epc


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"received_at_us": T0 + 9}, True),
        ({"sent_at_us": T0 + 9}, True),
        ({"sequence": 9}, True),
        ({"latitude_deg": np.nextafter(1.5, 2)}, False),
        ({"longitude_deg": -2.5}, False),
        ({"altitude_m": 0.0}, False),
        ({"speed_mps": 0.0}, False),
        ({"heading_deg": 0.0}, False),
        ({"accuracy_m": 1.0}, False),
        ({"satellites": 0}, False),
    ],
)
def test_what_a_fix_says_is_in_its_hash(change: dict[str, float], *, same: bool):
    first, second = history_rows.position_hash(positions({}, change)).tolist()
    assert (first == second) is same


def test_what_samples_and_tag_reads_say_is_in_their_hashes():
    changes = [{}, {"quantity": 2}, {"value": 4.1}, {"probe": 1}]
    assert len(set(history_rows.sensor_hash(sensors(*changes)).tolist())) == 4
    reads = [{}, {"epc": b"\x00\x30\x01"}, {"epc": b"\x30\x02"}, {"antenna": 2}, {"rssi_dbm": -40.0}]
    assert len(set(history_rows.tag_hash(tags(*reads)).tolist())) == 5


def test_zeros_are_one_and_so_are_nans():
    other_nan = np.array([0x7FC00001], np.uint32).view(np.float32)[0]
    hashes = history_rows.position_hash(
        positions({"latitude_deg": 0.0, "speed_mps": np.nan}, {"latitude_deg": -0.0, "speed_mps": other_nan})
    )
    assert hashes[0] == hashes[1]


def naive_hash(*words: float) -> int:
    """The same with Python's integers: splitmix64 over the bits of each word."""
    mask = 2**64 - 1
    state = 0x9E3779B97F4A7C15
    for word in words:
        bits = struct.unpack("<Q", struct.pack("<d", word))[0] if isinstance(word, float) else word & mask
        state = ((state ^ bits) + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state - 2**64 if state >> 63 else state


def test_stored_hashes_never_change():
    """They are part of the keys in every database."""
    nan = float("nan")
    fix = {"latitude_deg": 48.137, "longitude_deg": 11.575, "speed_mps": 12.5, "satellites": 9}
    (position,) = history_rows.position_hash(positions(fix)).tolist()
    assert position == naive_hash(48.137, 11.575, nan, 12.5, nan, nan, 9) == 3568911362796513433
    assert history_rows.sensor_hash(sensors({"value": 4.25})).tolist() == [naive_hash(1, 0, 4.25)]
    assert history_rows.tag_hash(tags({"rssi_dbm": -51.5})).tolist() == [naive_hash(0, 0x3001, 2, 1, -51.5)]
