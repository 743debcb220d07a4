"""Recorded files: every row is read or told."""

from __future__ import annotations

import csv
import gzip
import json
import pathlib

import pytest

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.replay_formats import Row, Skipped, grouped, rows
from ingest.replay_formats.ais_csv import read as read_ais
from tests.ingest.readings import batch, position, sensor
from tests.ingest.rig import NOW_US

HEADER = "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading"


def test_a_day_of_ais(drover_data: pathlib.Path) -> None:
    path = drover_data / "ais_us_2022-01-03.csv.gz"
    with gzip.open(path, "rt") as file:
        recorded = list(csv.DictReader(file))
    read = list(rows(path, "ais-csv"))
    assert len(read) == len(recorded) == 99_999
    for row, cells in zip(read, recorded, strict=True):
        assert isinstance(row, Row)
        (fix,) = row.readings.positions
        assert row.device_id == cells["MMSI"]
        assert (fix.latitude_deg, fix.longitude_deg) == (float(cells["LAT"]), float(cells["LON"]))
        if fix.HasField("speed_mps"):
            assert fix.speed_mps == pytest.approx(float(cells["SOG"]) * 0.514444, rel=1e-5)
        else:
            assert not 0 <= float(cells["SOG"]) < 102.3
        assert fix.HasField("heading_deg") == (0 <= float(cells["COG"]) < 360)
    assert read[0].observed_at_us == 1_641_168_000_000_000  # type: ignore[union-attr]


@pytest.mark.parametrize(("speed", "course"), [("102.3", "360.0"), ("", ""), ("-0.1", "-49.6")])
def test_what_is_not_available_is_left_out(speed: str, course: str) -> None:
    (row,) = read_ais([HEADER, f"1,2022-01-03T00:00:01,91,181,{speed},{course},511"])
    assert isinstance(row, Row)
    assert row.readings == batch(position(1_641_168_001_000_000, latitude_deg=91, longitude_deg=181))


@pytest.mark.parametrize("cells", ["1,yesterday,1,1,1,1,1", "1,2022-01-03T00:00:01,north,1,1,1,1", "1,2"])
def test_ais_rows_that_cannot_be_read_are_told(cells: str) -> None:
    sound = "1,2022-01-03T00:00:01,1,1,1,1,1"
    before, between, after = read_ais([HEADER, sound, cells, sound])
    assert isinstance(before, Row)
    assert isinstance(between, Skipped)
    assert between.line == 3
    assert isinstance(after, Row)


def test_a_file_of_something_else_is_told() -> None:
    assert list(read_ais(["a,b,c", "1,2,3"])) == [Skipped(1, "the header lacks MMSI, BaseDateTime, LAT, LON, SOG, COG")]


def test_drover_jsonl(tmp_path: pathlib.Path) -> None:
    fix = {"observed_at_us": NOW_US, "latitude_deg": 53.5, "longitude_deg": 10.0}
    sample = {"observed_at_us": NOW_US, "quantity": "temperature_celsius", "value": 4.5}
    lines = [
        json.dumps(fix | {"device_id": "truck"}),
        "",
        json.dumps({"device_id": "van", "positions": [fix], "sensors": [sample]}),
        json.dumps(fix),
        json.dumps({"device_id": "van", "positions": []}),
        "{",
    ]
    path = tmp_path / "file.jsonl"
    path.write_text("\n".join(lines))
    read = list(rows(path, "drover-jsonl"))
    assert read[:2] == [Row("truck", NOW_US, batch(position())), Row("van", NOW_US, batch(position(), sensor()))]
    assert [row.line for row in read[2:] if isinstance(row, Skipped)] == [4, 5, 6]


def test_groups_hold_every_row_in_order() -> None:
    readings = [Row(f"truck-{n % 3}", n, batch(position(sequence=n))) for n in range(10)]
    groups = list(grouped([*readings[:4], Skipped(5, "bad"), *readings[4:]], 4))
    assert [group.rows for group in groups] == [4, 4, 3]
    assert [group.skipped for group in groups] == [[], [Skipped(5, "bad")], []]
    assert [group.last_observed_at_us for group in groups] == [3, 6, 9]
    together: dict[str, ReadingBatch] = {}
    for group in groups:
        for device, readings_of in group.batches.items():
            together.setdefault(device, ReadingBatch()).MergeFrom(readings_of)
    assert {device: [fix.sequence for fix in found.positions] for device, found in together.items()} == {
        "truck-0": [0, 3, 6, 9],
        "truck-1": [1, 4, 7],
        "truck-2": [2, 5, 8],
    }
