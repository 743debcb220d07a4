"""NMEA 0183: logs of receivers against a mature decoder's answer, the habits of the format, and anything at all."""

from __future__ import annotations

import datetime as dt
import functools
import gzip
import itertools
import json
import operator
import pathlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import Position, ReadingBatch
from ingest import replay_formats
from ingest.decoders.lru_table import LruTable
from ingest.decoders.nmea import MAX_SENTENCES, NmeaDecoder
from ingest.decoders.nmea_sentence import Broken, sentences
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule
from tests.ingest.rig import NOW_US, FakeLog, running

TOPIC = "gps/truck"
RMC = "GPRMC,120000.00,A,4109.0000,N,00836.6000,W,10.0,270.0,141123,,,A"
GGA = "GPGGA,120000.00,4109.0000,N,00836.6000,W,1,09,1.0,90.5,M,50.0,M,,"
VTG = "GPVTG,270.0,T,,M,10.0,N,18.5,K,A"
GSA = "GPGSA,A,3,01,02,03,04,,,,,,,,,2.0,1.0,1.7"
ZDA = "GPZDA,120000.00,14,11,2023,00,00"
NOON_US = 1_699_963_200_000_000  # 2023-11-14 12:00 UTC
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def line(body: str, start: str = "$") -> bytes:
    checksum = functools.reduce(operator.xor, body.encode("latin-1"), 0)
    return f"{start}{body}*{checksum:02X}\r\n".encode("latin-1")


def lines(*bodies: str) -> bytes:
    return b"".join(line(body) for body in bodies)


def decode(*bodies: str, decoder: NmeaDecoder | None = None, at_us: int = NOON_US) -> ReadingBatch | Rejection:
    return (decoder or NmeaDecoder()).decode(TOPIC, lines(*bodies), at_us)


def fix(*bodies: str, decoder: NmeaDecoder | None = None, at_us: int = NOON_US) -> Position:
    readings = decode(*bodies, decoder=decoder, at_us=at_us)
    assert isinstance(readings, ReadingBatch), readings
    (position,) = readings.positions
    return position


def at(time: str) -> int:
    return round(dt.datetime.fromisoformat(time).timestamp() * 1000) * 1000


LOGS: dict[str, tuple[int, set[str]]] = {
    # How many instants the log names, and those of them that the other decoder does not report.
    "ublox-8.log": (72, set()),
    # The recording ends before the RMC of its last instant: the other decoder waits for it.
    "quectel-l76k-nmea.log": (151, {"2026-08-05T05:53:04+00:00"}),
    # An AIS sentence stands among the GPS sentences of these instants: the other decoder gives them up.
    "ais-nmea.log": (
        164,
        {"2020-04-07T21:40:13+00:00", "2020-04-07T21:41:48+00:00", "2020-04-07T21:41:50+00:00"},
    ),
}


def reported(path: pathlib.Path) -> dict[int, dict[str, Any]]:
    """The other decoder's last word on each instant."""
    found = {}
    for text in path.read_text(errors="replace").splitlines():
        if text.startswith('{"class":"TPV"') and '"time"' in text:
            report = json.loads(text)
            found[at(report["time"])] = report
    return found


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("how", ["in one payload", "as a replay"])
def test_logs_of_receivers(drover_data: pathlib.Path, name: str, how: str) -> None:
    path = drover_data / "nmea" / name
    if how == "as a replay":
        rows = list(replay_formats.rows(path, "nmea", "truck"))
        assert all(row.device_id == "truck" for row in rows if isinstance(row, replay_formats.Row))
        fixes = [fix for row in rows if isinstance(row, replay_formats.Row) for fix in row.readings.positions]
        # The u-blox log ends in the middle of a sentence.
        assert sum(isinstance(row, replay_formats.Skipped) for row in rows) == (name == "ublox-8.log")
    else:
        readings = NmeaDecoder().decode("", path.read_bytes(), 0)
        assert isinstance(readings, ReadingBatch)
        fixes = list(readings.positions)
    count, unreported = LOGS[name]
    ours = {position.observed_at_us: position for position in fixes}
    theirs = reported(path.with_suffix(".log.chk"))
    assert len(fixes) == len(ours) == count
    assert ours.keys() - theirs.keys() == {at(time) for time in unreported}
    assert not theirs.keys() - ours.keys()
    assert len(theirs) == count - len(unreported)
    for observed_at_us, report in theirs.items():
        position = ours[observed_at_us]
        assert position.latitude_deg == pytest.approx(report["lat"], abs=1e-9)
        assert position.longitude_deg == pytest.approx(report["lon"], abs=1e-9)
        for column, key, digits in (("altitude_m", "alt", 4), ("speed_mps", "speed", 3), ("heading_deg", "track", 4)):
            assert position.HasField(column) == (key in report)
            if key in report:
                # Theirs is rounded; ours is of 32 bits.
                assert getattr(position, column) == pytest.approx(report[key], rel=1e-6, abs=0.51 * 10**-digits)
        assert position.satellites > 0 or report["mode"] == 2  # the first instant of L76K has an RMC only


def test_ais_is_not_a_reading(drover_data: pathlib.Path) -> None:
    ais = [text for text in (drover_data / "nmea" / "ais-nmea.log").read_bytes().splitlines() if b"!AIVDM" in text]
    assert len(ais) > 100
    for payload in (ais[0], b"\r\n".join(ais)):
        answer = NmeaDecoder().decode(TOPIC, payload, NOON_US)
        assert isinstance(answer, Rejection)
        assert answer.reason is Reason.NOT_A_READING


def test_an_epoch() -> None:
    position = fix(RMC, VTG, GGA, GSA)
    assert position.observed_at_us == NOON_US
    assert position.latitude_deg == pytest.approx(41.15)
    assert position.longitude_deg == pytest.approx(-8.61)
    assert position.speed_mps == pytest.approx(10 * 1852 / 3600)
    assert (position.heading_deg, position.altitude_m, position.satellites) == (270, 90.5, 9)
    assert not position.HasField("accuracy_m")


@pytest.mark.parametrize("talker", ["GP", "GN", "GL", "GA", "GB", "BD", "II"])
def test_any_talker(talker: str) -> None:
    assert fix(talker + RMC[2:]) == fix(RMC)


def test_any_order_within_an_epoch() -> None:
    assert fix(GGA, GSA, RMC, VTG) == fix(RMC, VTG, GGA, GSA)


def test_sentences_need_no_line_ends_and_noise_is_passed_over() -> None:
    glued = b"\x00\xff,5)" + line(RMC).strip() + rb"\s:station,c:1699963200*51\\"[:-1] + line(GGA).strip() + b"\xb5b$"
    answer = NmeaDecoder().decode(TOPIC, glued, NOON_US)
    assert isinstance(answer, ReadingBatch)
    assert list(answer.positions) == [fix(RMC, GGA)]


def test_what_is_empty_is_unknown() -> None:
    position = fix("GPRMC,120000,A,4109.0,N,00836.6,W,,,141123,,")
    assert [name for name in ("speed_mps", "heading_deg", "altitude_m", "satellites") if position.HasField(name)] == []


def test_the_navigational_status_is_not_the_status() -> None:
    """NMEA 4.1 appends it; V says that the receiver has nothing to say of it."""
    position = fix(RMC + ",V")
    assert not position.HasField("satellites")


@pytest.mark.parametrize(
    "bodies",
    [
        [RMC.replace(",A,", ",V,", 1)],
        [RMC[:-1] + "N"],
        [RMC, GGA.replace("W,1,", "W,0,")],
        [GGA, RMC.replace(",A,", ",V,", 1)],
        [ZDA, "GNGNS,120000.00,4109.0,N,00836.6,W,NNN,05,1.0,90,50,,"],
        [ZDA, "GPGLL,4109.0,N,00836.6,W,120000.00,V,N"],
    ],
)
def test_a_place_without_a_fix_has_no_satellites(bodies: list[str]) -> None:
    position = fix(*bodies)
    assert position.HasField("satellites")
    assert position.satellites == 0


@pytest.mark.parametrize(
    "body",
    [
        "GPRMC,,V,,,,,,,,,,N",
        "GPRMC,120000.00,V,,,,,,,141123,,,N",
        "GPGGA,120000.00,,,,,0,00,99.99,,,,,,",
        "GPGSV,1,1,01,05,20,100,30",
        "PUBX,00,120000.00",
        VTG,
        GSA,
        ZDA,
    ],
)
def test_no_place_is_no_reading(body: str) -> None:
    answer = decode(body)
    assert isinstance(answer, Rejection)
    assert answer.reason is Reason.NOT_A_READING


def test_dead_reckoning_is_a_fix() -> None:
    position = fix(RMC, GGA.replace("W,1,09", "W,6,00"))
    assert not position.HasField("satellites")


def test_a_flat_fix_has_no_height() -> None:
    assert not fix(RMC, GGA, "GPGSA,A,2,01,02,03,,,,,,,,,,2.0,1.0,1.7").HasField("altitude_m")
    # One constellation without satellites does not make the others flat.
    assert fix(RMC, GGA, GSA, "BDGSA,A,1,,,,,,,,,,,,,,,").HasField("altitude_m")


def test_satellites_are_counted_where_nobody_says_how_many() -> None:
    assert fix(RMC, GSA, "GLGSA,A,3,65,66,,,,,,,,,,,2.0,1.0,1.7").satellites == 6


def test_gns_and_gll() -> None:
    gns = fix(ZDA, "GNGNS,120000.00,4109.0,N,00836.6,W,AN,14,1.0,90.5,50,,")
    assert (gns.observed_at_us, gns.altitude_m, gns.satellites) == (NOON_US, 90.5, 14)
    assert fix(ZDA, "GPGLL,4109.0,N,00836.6,W,120000.00,A,A").latitude_deg == gns.latitude_deg


@pytest.mark.parametrize(("digits", "year"), [("80", 1980), ("99", 1999), ("00", 2000), ("23", 2023), ("79", 2079)])
def test_years_of_two_digits(digits: str, year: int) -> None:
    observed = dt.datetime.fromtimestamp(fix(RMC.replace("141123", f"1411{digits}")).observed_at_us / 1e6, dt.UTC)
    assert (observed.year, observed.month, observed.day) == (year, 11, 14)


@pytest.mark.parametrize("order", [[RMC, ZDA], [ZDA, RMC]])
def test_a_year_of_four_digits_holds(order: list[str]) -> None:
    assert fix(*(body.replace("141123", "141143") for body in order)).observed_at_us == NOON_US


@pytest.mark.parametrize(
    ("time", "expected_us"),
    [("120000", NOON_US), ("120000.5", NOON_US + 500_000), ("120000.1234567", NOON_US + 123_456)],
)
def test_times(time: str, expected_us: int) -> None:
    assert fix(RMC.replace("120000.00", time)).observed_at_us == expected_us


def test_south_and_east_and_the_poles() -> None:
    position = fix(RMC.replace("4109.0000,N,00836.6000,W", "9000.0000,S,18000.0000,E"))
    assert (position.latitude_deg, position.longitude_deg) == (-90, 180)


def test_many_epochs_in_one_payload() -> None:
    readings = decode(
        RMC, VTG, GGA, RMC.replace("120000", "120001"), GGA.replace("120000", "120002"), VTG.replace("270.0", "90.0")
    )
    assert isinstance(readings, ReadingBatch)
    assert [position.observed_at_us - NOON_US for position in readings.positions] == [0, 1_000_000, 2_000_000]
    assert [position.HasField("altitude_m") for position in readings.positions] == [True, False, True]
    assert [position.heading_deg for position in readings.positions] == [270, 270, 90]


def test_a_payload_dates_its_own() -> None:
    """Across midnight both ways: the RMC stands in the middle."""
    readings = decode(GGA.replace("120000", "235959"), RMC.replace("120000", "000000"), GGA.replace("120000", "000001"))
    assert isinstance(readings, ReadingBatch)
    midnight_us = NOON_US - DAY_US // 2
    assert [each.observed_at_us - midnight_us for each in readings.positions] == [-1_000_000, 0, 1_000_000]


def test_sentence_by_sentence_each_fix_has_what_was_known() -> None:
    decoder = NmeaDecoder()
    first = fix(RMC, decoder=decoder)
    second = fix(GGA, decoder=decoder)
    assert first == fix(RMC)
    assert second == fix(RMC, GGA)
    assert isinstance(decode(GSA, decoder=decoder), Rejection)
    # The next instant knows nothing of the last.
    third = fix(GGA.replace("120000", "120001"), decoder=decoder, at_us=NOON_US + 1_000_000)
    assert third.observed_at_us == NOON_US + 1_000_000
    assert not third.HasField("speed_mps")


def test_the_same_payload_gives_the_same_fix_again() -> None:
    """A broker sends again what was not acknowledged: what is remembered must not swallow it."""
    decoder = NmeaDecoder()
    assert fix(RMC, GGA, GSA, decoder=decoder) == fix(RMC, GGA, GSA, decoder=decoder)
    assert fix(RMC, decoder=decoder).observed_at_us == NOON_US


@pytest.mark.parametrize(
    ("time", "later_us", "expected_us"),
    [
        ("120001.00", 1_000_000, 1_000_000),
        ("000001.00", DAY_US // 2 + 1_000_000 - 60_000_000, DAY_US // 2 + 1_000_000),
        ("235959.00", 60_000_000, DAY_US // 2 - 1_000_000),
        # Received late: five hours of silence, then the backlog at once.
        ("120001.00", 5 * HOUR_US, 1_000_000),
    ],
)
def test_the_date_is_remembered(time: str, later_us: int, expected_us: int) -> None:
    decoder = NmeaDecoder()
    fix(RMC, decoder=decoder)
    position = fix(GGA.replace("120000.00", time), decoder=decoder, at_us=NOON_US + later_us)
    assert position.observed_at_us == NOON_US + expected_us


def test_a_date_lasts_for_ever_while_fixes_come() -> None:
    decoder = NmeaDecoder()
    fix(RMC, decoder=decoder)
    for hour in range(1, 73):
        instant = f"{(12 + hour) % 24:02}0000.00"
        position = fix(GGA.replace("120000.00", instant), decoder=decoder, at_us=NOON_US + hour * HOUR_US)
        assert position.observed_at_us == NOON_US + hour * HOUR_US


@pytest.mark.parametrize("later_us", [DAY_US // 2, -DAY_US // 2, 30 * DAY_US])
def test_a_date_of_long_ago_is_none(later_us: int) -> None:
    """Among them letters that are replayed: never with the date of today."""
    decoder = NmeaDecoder()
    fix(RMC, decoder=decoder)
    answer = decode(GGA.replace("120000", "120001"), decoder=decoder, at_us=NOON_US + later_us)
    assert isinstance(answer, Rejection)
    assert answer.reason is Reason.MISSING_FIELD


def test_a_replay_changes_nothing_that_is_remembered() -> None:
    decoder = NmeaDecoder()
    fix(RMC, decoder=decoder)
    fix(RMC.replace("141123", "010123").replace("120000", "080000"), decoder=decoder, at_us=NOON_US - 300 * DAY_US)
    assert fix(GGA, decoder=decoder) == fix(RMC, GGA)


def test_a_clock_without_a_fix_is_not_believed() -> None:
    decoder = NmeaDecoder()
    before = fix(RMC.replace(",A,", ",V,", 1).replace("141123", "060180"), decoder=decoder)
    assert before.satellites == 0
    answer = decode(GGA.replace("120000", "120001"), decoder=decoder)
    assert isinstance(answer, Rejection)
    assert answer.reason is Reason.MISSING_FIELD


def test_topics_are_apart_and_bounded() -> None:
    decoder = NmeaDecoder(max_topics=2)
    for topic in ("a", "b", "c"):
        decoder.decode(topic, line(RMC), NOON_US)
    dated = {
        topic: isinstance(decoder.decode(topic, line(GGA), NOON_US), ReadingBatch) for topic in ("c", "b", "a", "d")
    }
    assert dated == {"c": True, "b": True, "a": False, "d": False}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"hello", Reason.MALFORMED),
        (line(RMC).replace(b"A,4109", b"A,4108"), Reason.MALFORMED),
        (line(RMC).split(b"*")[0], Reason.MALFORMED),
        (line(RMC)[:-10], Reason.MALFORMED),
        (lines(RMC.replace("120000.00", "240000.00")), Reason.MALFORMED),
        (lines(RMC.replace("120000.00", "12:00:00")), Reason.MALFORMED),
        (lines(RMC.replace("141123", "311123")), Reason.MALFORMED),
        (lines(RMC.replace("141123", "14112023")), Reason.MALFORMED),
        (lines(RMC.replace("4109.0000", "4160.0000")), Reason.MALFORMED),
        (lines(RMC.replace("4109.0000,N", "4109.0000,X")), Reason.MALFORMED),
        (lines(RMC.replace(",10.0,", ",nan,")), Reason.MALFORMED),
        (lines(RMC.replace(",10.0,", ",1_0,")), Reason.MALFORMED),
        (lines(RMC.replace(",A,", ",X,", 1)), Reason.MALFORMED),
        (lines(GGA.replace(",09,", ",-9,"), ZDA), Reason.MALFORMED),
        (b"$" * MAX_SENTENCES, Reason.MALFORMED),
        (b"$!" * MAX_SENTENCES, Reason.TOO_LARGE),
        (lines(GGA), Reason.MISSING_FIELD),
        (lines(RMC.replace("141123", "")), Reason.MISSING_FIELD),
    ],
)
def test_reasons(payload: bytes, reason: Reason) -> None:
    answer = NmeaDecoder().decode(TOPIC, payload, NOON_US)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


def test_a_broken_sentence_does_not_take_the_others_with_it() -> None:
    payload = line(RMC) + line(GGA).replace(b"90.5", b"99.5") + line(VTG)
    answer = NmeaDecoder().decode(TOPIC, payload, NOON_US)
    assert isinstance(answer, ReadingBatch)
    assert list(answer.positions) == [fix(RMC)]
    # A sentence with one bad field counts for nothing: the height beside it neither.
    assert fix(RMC, GGA.replace(",09,", ",x,")) == fix(RMC)


def test_sentences_say_what_is_wrong() -> None:
    checksum, none = sentences(b"$GPRMC,1*00\r\n$GPRMC,2\r\n")
    assert isinstance(checksum, Broken)
    assert "not 00" in checksum.detail
    assert isinstance(none, Broken)
    assert "no checksum" in none.detail


def test_the_table_forgets_the_least_used() -> None:
    table: LruTable[int] = LruTable(3)
    table.put("a", 1)
    table.put("b", 2, 2)
    assert table.get("a") == 1
    table.put("c", 3)
    assert (table.get("a"), table.get("b"), table.get("c"), len(table)) == (1, None, 3, 2)
    table.put("a", 4, 4)
    assert (table.get("a"), table.get("c"), len(table)) == (None, 3, 1)
    table.forget("c")
    table.forget("c")
    table.put("d", 5, 3)
    assert (table.get("d"), len(table)) == (5, 1)


@given(st.binary() | st.binary().map(b"$GPRMC,".__add__))
def test_any_bytes_give_readings_or_a_reason(payload: bytes) -> None:
    assert isinstance(NmeaDecoder().decode("t", payload, NOON_US), ReadingBatch | Rejection)


_FIELD = st.sampled_from(
    ["", "A", "V", "N", "S", "E", "W", "K", "0", "1", "2", "3", "120000.00", "235960", "4109.0", "00836.6", "141123",
     "9999.9", "-1", "1e5", "nan", "2023", "14", "11", "\xff"]
) | st.text(st.characters(codec="latin-1", exclude_characters="$!*,\r\n"), max_size=5)  # fmt: skip
_BODY = st.builds(
    lambda formatter, fields: ",".join(["GP" + formatter, *fields]),
    st.sampled_from(["RMC", "GGA", "GNS", "GLL", "VTG", "GSA", "ZDA", "XXX"]),
    st.lists(_FIELD, max_size=18),
)


@given(st.lists(st.lists(_BODY | st.sampled_from([RMC, GGA, VTG, ZDA]), max_size=4), max_size=4), st.data())
def test_any_sentences_give_readings_or_a_reason(payloads: list[list[str]], data: st.DataObject) -> None:
    decoder = NmeaDecoder()
    for bodies in payloads:
        received_at_us = data.draw(st.integers(0, 2**61))
        answer = decoder.decode("t", lines(*bodies), received_at_us)
        assert isinstance(answer, ReadingBatch | Rejection)
        if isinstance(answer, ReadingBatch):
            assert answer.positions
            assert ReadingBatch.FromString(answer.SerializeToString()) == answer


_TRACK = [
    body.replace("120000", f"1200{second:02}")
    for second in range(4)
    for body in ([RMC, VTG, GGA, GSA] if second % 2 else [GGA, GSA, RMC, VTG])
]


@given(st.sets(st.integers(1, len(_TRACK) - 1)))
def test_however_a_stream_is_cut_no_instant_is_missing_and_the_last_word_is_the_same(cuts: set[int]) -> None:
    """RMC comes first, so that there is a date."""
    bounds = [0, *sorted(cuts), len(_TRACK)]
    decoder, whole = NmeaDecoder(), NmeaDecoder()
    decode("GPRMC,115959.00,A,4109.0,N,00836.6,W,,,141123,,", decoder=decoder)
    decode("GPRMC,115959.00,A,4109.0,N,00836.6,W,,,141123,,", decoder=whole)
    said: dict[int, Position] = {}
    for first, after in itertools.pairwise(bounds):
        answer = decode(*_TRACK[first:after], decoder=decoder)
        if isinstance(answer, ReadingBatch):
            said |= {position.observed_at_us: position for position in answer.positions}
    expected = decode(*_TRACK, decoder=whole)
    assert isinstance(expected, ReadingBatch)
    assert said == {position.observed_at_us: position for position in expected.positions}


def test_a_replay_tells_what_it_cannot_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "night.nmea.gz"
    broken = line(GGA).replace(b"09,1.0", b"08,1.0")
    dateless = lines(GGA.replace("120000", "120003"), RMC.replace("120000", "240003"))
    path.write_bytes(
        gzip.compress(
            b"# remark $GPRMC\r\n" + lines(RMC, VTG) + broken + lines(RMC.replace("120000", "120001")) + dateless
        )
    )
    rows = list(replay_formats.rows(path, "nmea", "truck"))
    assert [row.line for row in rows if isinstance(row, replay_formats.Skipped)] == [4, 7]
    taken = [row for row in rows if isinstance(row, replay_formats.Row)]
    assert [row.observed_at_us - NOON_US for row in taken] == [0, 1_000_000, 3_000_000]


async def test_through_the_pipeline(tmp_path: pathlib.Path) -> None:
    log = FakeLog()
    rule = TopicRule(filter="gps/+", decoder="nmea", device_levels=(1,), tenant="acme")
    async with running(tmp_path, log, rules=[rule]) as rig:
        await rig.provision("truck")
        # Ingest was restarted: it does not know the date.
        await rig.send((TOPIC, lines(GGA)), received_at_us=NOW_US)
        (letter,) = await rig.letters()
        assert letter.reason == "missing_field"
        await rig.send((TOPIC, lines(RMC)), received_at_us=NOW_US)
        outcome = await rig.pipeline.replay(letter)
        assert outcome.accepted == 1
    positions = log.readings.positions
    assert positions.observed_at_us.tolist() == [NOON_US] * 2
    assert positions.altitude_m.tolist()[1] == 90.5
