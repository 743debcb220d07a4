"""The main job on real input: a recorded day through the whole stack, and every row accounted for."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import pathlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from drover.tracking.v1.event_pb2 import TrackingEvent
from ingest import replay_formats
from ingest.replay_formats import Row
from tests.end_to_end import ais, oracle
from tests.end_to_end.conftest import MakeStack
from tests.end_to_end.stack_process import StackProcess

pytestmark = [pytest.mark.end_to_end, pytest.mark.server, pytest.mark.timeout(900)]

# What is wrong with the rows put in between: column, value, and the reason ingest must give.
SPOILED = [
    ("LAT", "91.0", "coordinate_out_of_range"),
    ("LON", "181.0", "coordinate_out_of_range"),
    ("LAT", "nan", "not_finite"),
    ("BaseDateTime", "1970-01-01T00:00:07", "clock_unset"),
    ("BaseDateTime", "2100-01-01T00:00:00", "clock_future"),
]


@pytest.fixture(scope="module")
def spoiled_day(
    drover_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pathlib.Path, Counter[str]]:
    """The recording with bad rows and exact repetitions in between, and how many of each."""
    out = tmp_path_factory.mktemp("ais") / "day.csv.gz"
    added: Counter[str] = Counter()
    with gzip.open(ais.recording(drover_data), "rt", newline="") as source, gzip.open(out, "wt", newline="") as target:
        reader = csv.DictReader(source)
        assert reader.fieldnames is not None
        writer = csv.DictWriter(target, reader.fieldnames)
        writer.writeheader()
        for number, row in enumerate(reader):
            writer.writerow(row)
            if number % 997 == 0:
                column, value, reason = SPOILED[added.total() % len(SPOILED)]
                writer.writerow({**row, column: value})
                added[reason] += 1
            if number % 499 == 0:
                writer.writerow(row)
                added["repeated"] += 1
    return out, added


def define_fences(stack: StackProcess) -> None:
    for feature in ais.fences():
        answer = stack.http.put(f"/v1/geofences/{feature['id']}", json=feature)
        assert answer.status_code in {200, 201}, answer.text


def events_of(stack: StackProcess) -> list[oracle.EventKey]:
    """Those that stand, of the kinds that are compared: the last revision of each, if that does not withdraw it."""
    told: dict[str, Any] = {}
    for event in sorted(stack.get_all("/v1/events", limit=1000), key=lambda event: event["revision"]):
        told[event["amends_event_id"] or event["event_id"]] = event
    return sorted(
        (event["device_id"], event["kind"], event["details"].get("fence_id", ""), oracle.time_us(event["observed_at"]))
        for event in told.values()
        if event["standing"] != "withdrawn" and event["kind"] in oracle.KINDS
    )


def streamed_event_ids(stack: StackProcess) -> list[str]:
    port = stack.described()["addresses"]["redis"]
    with redis.Redis(port=port) as client:
        entries: Any = client.xrange("drover:events")
    return [TrackingEvent.FromString(fields[b"e"]).event_id for _, fields in entries]


def unique_rows(file: pathlib.Path, limit: int | None = None) -> Iterator[Row]:
    """The rows of a recording that can be stored, repetitions left out."""
    seen = set()
    for number, row in enumerate(replay_formats.rows(file, "ais-csv")):
        if limit is not None and number >= limit:
            return
        if isinstance(row, Row) and (key := (row.device_id, row.readings.SerializeToString())) not in seen:
            seen.add(key)
            if oracle.is_admissible(row.readings.positions[0]):
                yield row


@pytest.mark.parametrize("via", ["mqtt", "grpc"])
def test_every_row_is_stored_once_and_the_events_are_the_oracle_s(
    via: str, make_stack: MakeStack, spoiled_day: tuple[pathlib.Path, Counter[str]]
) -> None:
    file, added = spoiled_day
    stack = make_stack()
    define_fences(stack)
    with stack.replay(file, "--format", "ais-csv", "--via", via, "--speed", "max") as replay:
        said, complained = replay.communicate(timeout=600)
    assert replay.returncode == 0, complained
    sent = json.loads(said)
    bad = sum(count for reason, count in added.items() if reason != "repeated")
    assert sent["rows"] == 99_999 + added.total()
    assert sent["acknowledged"] == sent["rows"]
    assert sent["unreadable"] == 0

    accounts = stack.wait_until(
        "history has all rows", lambda: (a := stack.accounts())["positions_read"] >= sent["rows"] - bad and a, 300
    )
    letters = stack.get_all("/v1/dead-letters", limit=500)
    expected = list(unique_rows(file))
    assert Counter(letter["reason"] for letter in letters) == {
        reason: count for reason, count in added.items() if reason != "repeated"
    }
    assert accounts["positions_read"] + len(letters) == sent["rows"]
    assert accounts["positions_stored"] + accounts["positions_repeated"] + len(letters) == sent["rows"]
    assert accounts["positions_stored"] == len(expected)
    verdicts = {count["verdict"]: count["count"] for count in accounts["verdicts"]}
    assert sum(verdicts.values()) == accounts["positions_read"]
    assert verdicts["duplicate"] == accounts["positions_repeated"]

    wanted = oracle.events(expected, ais.fences(), stack.tenant)
    assert len(wanted) > 100
    assert oracle.differences(wanted, events_of(stack)) == []
    # Each revision once; the recording is not in order, so some were corrected.
    ids = streamed_event_ids(stack)
    assert len(ids) == len(set(ids)) == accounts["events"] > len(wanted)
    positions = stack.get_all("/v1/positions", "features", limit=5000)
    assert {feature["properties"]["device_id"] for feature in positions} == oracle.devices_with_fix(expected)


def test_a_receiver_s_log(make_stack: MakeStack, drover_data: pathlib.Path) -> None:
    """NMEA does not say whose it is: whoever replays it must."""
    stack = make_stack()
    file = drover_data / "nmea" / "quectel-l76k-nmea.log"
    with stack.replay(file, "--format", "nmea") as replay:
        _, complained = replay.communicate(timeout=300)
    assert replay.returncode != 0
    assert "--device" in complained
    with stack.replay(file, "--format", "nmea", "--device", "van-7") as replay:
        said, complained = replay.communicate(timeout=300)
    assert replay.returncode == 0, complained
    sent = json.loads(said)
    fixes = sum(isinstance(row, Row) for row in replay_formats.rows(file, "nmea", "van-7"))
    assert sent["acknowledged"] == sent["rows"] == fixes > 100
    stack.wait_until("history has all fixes", lambda: stack.accounts()["positions_stored"] == fixes)
    place = stack.get("/v1/devices/van-7/position")
    assert place["geometry"]["coordinates"][:2] == pytest.approx([-122.3263922, 47.6619783], abs=1e-6)


AGAIN_ROWS = 12_000


def history_of(stack: StackProcess) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the history, as it is stored."""
    with contextlib.closing(sqlite3.connect(stack.data_dir / "tracking.db")) as database:
        return {
            table: database.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
            for table in ("positions", "events", "devices")
        }


def test_the_same_day_again_changes_nothing(make_stack: MakeStack, drover_data: pathlib.Path) -> None:
    """Also where the engine has long forgotten the fix: history knows it by device, time and content."""
    stack = make_stack()
    define_fences(stack)
    file = ais.recording(drover_data)
    seen = []
    for read in (AGAIN_ROWS, 2 * AGAIN_ROWS):
        with stack.replay(file, "--format", "ais-csv", "--via", "grpc", "--limit", str(AGAIN_ROWS)) as replay:
            said, complained = replay.communicate(timeout=600)
        assert replay.returncode == 0, complained
        assert json.loads(said)["acknowledged"] == AGAIN_ROWS
        accounts = stack.wait_until(
            "history has all rows", lambda wanted=read: (a := stack.accounts())["positions_read"] >= wanted and a, 300
        )
        seen.append((accounts, history_of(stack), streamed_event_ids(stack)))
    (first, rows, event_ids), (second, rows_again, event_ids_again) = seen
    assert rows_again == rows
    assert event_ids_again == event_ids
    assert len(rows["events"]) == len(event_ids) > 10
    assert len(rows["positions"]) == first["positions_stored"] > AGAIN_ROWS / 2
    verdicts, verdicts_again = (
        {each["verdict"]: each["count"] for each in accounts["verdicts"]} for accounts in (first, second)
    )
    assert verdicts_again == verdicts | {"duplicate": verdicts.get("duplicate", 0) + AGAIN_ROWS}
    assert second == first | {
        "verdicts": second["verdicts"],
        "positions_read": 2 * AGAIN_ROWS,
        "positions_repeated": first["positions_repeated"] + AGAIN_ROWS,
    }


KILL_ROWS = 40_000


@pytest.fixture(scope="module")
def wanted_after_kills(drover_data: pathlib.Path) -> tuple[int, list[oracle.EventKey]]:
    """How many rows are stored, and which events, of the beginning of the recording."""
    rows = list(unique_rows(ais.recording(drover_data), KILL_ROWS))
    return len(rows), oracle.events(rows, ais.fences(), "demo")


@pytest.mark.parametrize("victim", ["ingest", "tracking", "shipment", "redis"])
@pytest.mark.parametrize("via", ["mqtt"])
def test_kill_9_in_the_middle_costs_nothing(
    victim: str,
    via: str,
    make_stack: MakeStack,
    drover_data: pathlib.Path,
    wanted_after_kills: tuple[int, list[oracle.EventKey]],
) -> None:
    stored, wanted = wanted_after_kills
    stack = make_stack()
    define_fences(stack)
    # A shipment that one of the ships delivers: its device enters the fence of the only stop.
    device_id, _, fence_id, _ = next(key for key in wanted if key[1] == "geofence_entered")
    shipment = {
        "shipment_id": "cargo", "device_id": device_id,
        "stops": [
            {"stop_id": "1", "name": "harbour", "fence_id": fence_id, "longitude_deg": -90.0, "latitude_deg": 30.0}
        ],
    }  # fmt: skip
    answer = stack.http.post("/v1/shipments", json=shipment)
    assert answer.status_code in {200, 201}, answer.text

    options = ("--format", "ais-csv", "--via", via, "--limit", str(KILL_ROWS))
    with stack.replay(ais.recording(drover_data), *options) as replay:
        for share in (0.2, 0.5):
            stack.wait_until(
                "the replay is under way", lambda s=share: stack.accounts()["positions_read"] > s * KILL_ROWS
            )
            stack.kill(victim)
            stack.wait_until(f"{victim} is started again", lambda: f"{victim} killed by SIGKILL" in stack.said())
        said, complained = replay.communicate(timeout=600)
    assert replay.returncode == 0, complained
    assert json.loads(said)["acknowledged"] == KILL_ROWS

    stack.wait_until("everything is stored", lambda: stack.accounts()["positions_stored"] >= stored)
    stack.wait_until("all events are stored", lambda: oracle.differences(wanted, events_of(stack)) == [])
    accounts = stack.accounts()
    assert accounts["positions_stored"] == stored
    assert accounts["positions_stored"] + accounts["positions_repeated"] == accounts["positions_read"]
    ids = streamed_event_ids(stack)
    assert len(ids) == len(set(ids)) == stack.accounts()["events"]
    assert stack.get_all("/v1/dead-letters") == []
    stack.wait_until("the shipment is delivered", lambda: stack.get("/v1/shipments/cargo")["status"] == "delivered")
