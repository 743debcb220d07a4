"""Foreign formats through the real pipeline: topic rule, decoder, readings in the log; letters, and their replay.

The rules are those of `docs/formats.md`, read from there, so that what people copy is what is tested.
"""

from __future__ import annotations

import json
import pathlib
import re
from typing import NamedTuple

import pytest

from ingest.settings import IngestSettings, TopicRule
from runtime.settings import load
from tests.ingest.decoders.test_nmea import GGA, RMC, lines
from tests.ingest.decoders.test_sparkplug import metric, payload
from tests.ingest.decoders.test_teltonika_codec import T_MS, framed, packet, record
from tests.ingest.rig import NOW_US, FakeLog, running

DOCUMENT = pathlib.Path(__file__).resolve().parents[3] / "docs" / "formats.md"
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
TIME = "2023-11-14T22:13:20Z"
"""NOW_US."""


def documented_rules(tmp_path: pathlib.Path) -> list[TopicRule]:
    """Each example loaded as a settings file of its own, as `drover config show` does."""
    rules: list[TopicRule] = []
    for number, text in enumerate(EXAMPLES):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        settings = load({"ingest": IngestSettings}, file=file, environ={})["ingest"]
        assert isinstance(settings, IngestSettings)
        rules += settings.topics
    # Trackers speak one of the two on a topic.
    json_rule = next(rule for rule in rules if rule.decoder == "teltonika_json")
    return [*rules, json_rule.model_copy(update={"decoder": "teltonika_codec", "filter": "teltonika/+/packet"})]


class Case(NamedTuple):
    """A topic of `device`, a payload with so many positions, samples and tag reads, and one that is refused."""

    decoder: str
    topic: str
    sound: bytes
    counts: tuple[int, int, int]
    bad: bytes
    reason: str
    device: str = "d-1"


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


_REPORTED = {"ts": T_MS, "latlng": "54.5,25.5", "sat": 0, "66": 12_000}
_UP = {"time": TIME, "fCnt": 3, "data": "qg==", "object": {"temperature": 4.5, "latitude": 1.5, "longitude": 2.5}}
_PLACE = {"latitude": 1, "longitude": 2}
_IMPINJ = {"eventType": "tagInventory", "timestamp": TIME, "tagInventoryEvent": {"epcHex": "3074", "antennaPort": 2}}
_PACK = [{"bt": NOW_US / 1e6, "n": "lat", "u": "lat", "v": 1}, {"n": "lon", "u": "lon", "v": 2},
         {"n": "t1", "u": "Cel", "v": 4}]  # fmt: skip
_ZEBRA = {"type": "SIMPLE", "timestamp": TIME, "data": {"eventNum": 1, "idHex": "3074"}}

CASES = [
    Case("teltonika_json", "teltonika/d-1/data", _json({"state": {"reported": _REPORTED}}), (1, 1, 0),
         _json({"state": {"reported": _REPORTED | {"latlng": "here"}}}), "malformed"),
    Case("teltonika_codec", "teltonika/d-1/packet", framed(packet(8, record(8, {66: (2, 12_000)}), record(8, {}))),
         (2, 1, 0), framed(packet(8, record(8, {})))[:-1] + b"\xff", "malformed"),
    Case("impinj", "impinj/d-1/events", _json([_IMPINJ, _IMPINJ | {"eventType": "diagnostic"}]), (0, 0, 1),
         _json(_IMPINJ | {"tagInventoryEvent": {"tidHex": "E280"}}), "missing_field"),
    Case("zebra", "zebra/d-1/data", _json(_ZEBRA), (0, 0, 1),
         _json(_ZEBRA | {"data": {"idHex": "xyz"}}), "bad_epc"),
    Case("chirpstack", "application/17c82e96/device/d-1/event/up", _json(_UP), (1, 1, 0),
         _json(_UP | {"object": None}), "missing_field"),
    Case("tts", "v3/app@acme/devices/d-1/up",
         _json({"received_at": TIME, "uplink_message": {"decoded_payload": {"gps_0": _PLACE, "temperature_2": 4}}}),
         (1, 1, 0),
         _json({"received_at": TIME, "uplink_message": {"decoded_payload": {"temperature_2": "n/a"}}}), "malformed"),
    Case("json_fields", "trackers/d-1/status", _json({"ts": NOW_US / 1e6, "pos": [1, 2], "battery": 80}), (1, 1, 0),
         _json({"pos": [1, 2]}), "missing_field"),
    Case("senml", "senml/d-1", _json(_PACK), (1, 1, 0), _json([{"bver": 11}, *_PACK]), "malformed"),
    Case("nmea", "gps/d-1", lines(RMC, GGA), (1, 0, 0), lines(RMC, GGA)[:-3].replace(b"A", b"B"), "malformed"),
    Case("sparkplug", "spBv1.0/yard/DDATA/gate/d-1", payload(metric("lat", 1.0), metric("lon", 2.0)), (1, 0, 0),
         payload(metric("lat", 1.0)), "no_location", "yard.gate.d-1"),
]  # fmt: skip
IDS = [case.decoder for case in CASES]


def test_every_example_of_the_documentation_is_understood(tmp_path: pathlib.Path) -> None:
    decoders = [rule.decoder for rule in documented_rules(tmp_path)]
    assert {case.decoder for case in CASES} <= set(decoders)
    assert "json" in decoders


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_readings_reach_the_log_and_bad_payloads_the_letters(tmp_path: pathlib.Path, case: Case) -> None:
    log = FakeLog()
    async with running(tmp_path, log, rules=documented_rules(tmp_path)) as rig:
        (number,) = await rig.provision(case.device)
        await rig.send((case.topic, case.bad), (case.topic, case.sound), (case.topic, case.bad))
        found = log.readings
        counts = tuple(len(columns.device) for columns in (found.positions, found.sensors, found.tags))
        assert counts == case.counts
        for columns in (found.positions, found.sensors, found.tags):
            assert set(columns.device.tolist()) <= {number}
            assert set(columns.received_at_us.tolist()) <= {NOW_US}
        letters = await rig.letters()
        assert [(letter.reason, letter.topic, letter.payload) for letter in letters] == [
            (case.reason, case.topic, case.bad)
        ] * 2
        assert letters[0].detail
        again = await rig.pipeline.replay(letters[0])
        assert (again.accepted, [each.reason.slug for each in again.refusals]) == (0, [case.reason])
        assert len(await rig.letters()) == 2


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_letter_of_a_stranger_is_replayed_once_it_is_known(tmp_path: pathlib.Path, case: Case) -> None:
    log = FakeLog()
    async with running(tmp_path, log, rules=documented_rules(tmp_path)) as rig:
        await rig.send((case.topic, case.sound))
        assert [letter.reason for letter in await rig.letters()] == ["unknown_device"]
        await rig.provision(case.device)
        outcome = await rig.pipeline.replay((await rig.letters())[0])
        assert (outcome.accepted, outcome.refusals) == (sum(case.counts), [])
        assert sum(len(columns.device) for columns in log.readings) == sum(case.counts)


async def test_a_letter_is_replayed_once_the_rule_is_mended(tmp_path: pathlib.Path) -> None:
    rule = TopicRule(filter="application/+/device/+/event/+", decoder="chirpstack", device_levels=(3,), tenant="acme")
    up = _json(_UP | {"object": {"vbat": 3600}})
    async with running(tmp_path, FakeLog(), rules=[rule]) as rig:
        await rig.provision("d-1")
        await rig.send((CASES[4].topic, up))
        (letter,) = await rig.letters()
        assert letter.reason == "unknown_type"
    mended = TopicRule.model_validate(rule.model_dump() | {"fields": {"voltage_v": {"path": "vbat", "scale": 0.001}}})
    log = FakeLog()
    async with running(tmp_path, log, rules=[mended]) as rig:
        assert (await rig.pipeline.replay((await rig.letters())[0])).accepted == 1
        assert log.readings.sensors.value.tolist() == [3.6]
        assert log.readings.sensors.sequence.tolist() == [3]


async def test_no_fix_reaches_the_log_as_one_of_no_satellites(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    async with running(tmp_path, log, rules=documented_rules(tmp_path)) as rig:
        await rig.provision("d-1")
        no_fix = _json({"state": {"reported": _REPORTED | {"latlng": "0.000000,0.000000"}}})
        await rig.send(
            ("teltonika/d-1/data", no_fix),
            ("teltonika/d-1/packet", packet(8, record(8, {}, latitude=0, longitude=0, satellites=0))),
        )
        positions = log.readings.positions
        assert positions.satellites.tolist() == [0, 0]
        assert positions.latitude_deg.tolist() == [0, 0]
        assert await rig.letters() == []
