"""What a foreign payload costs: each decoder's messages a second on one core, beside `json.loads` of the same bytes.

A decoder gives readings, ready for the batch; the peer gives dicts and lists, from which nobody has yet taken a value,
checked a range or converted a unit. The binary codec is measured beside the JSON of the same record. A ratio of 1 says
that readings cost no more than Python's parser alone.

Checked: every payload gives the readings expected of it, by number and by one value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from benchmarks.report import Options, Result, main, measure_pairs, rate_result
from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders import Decoders
from ingest.settings import TopicRule

NOW_US: Final = 1_700_000_000_000_000
TIME: Final = "2023-11-14T22:13:20.123456Z"


class Case(NamedTuple):
    """`value` is taken of the readings and compared; `peer` is JSON, of `payload` itself where it is JSON."""

    decoder: str
    topic: str
    payload: bytes
    peer: bytes
    readings: int
    value: Callable[[ReadingBatch], float]
    expected: float


def _json(decoder: str, topic: str, message: object, readings: int, value: Callable[[ReadingBatch], float],
          expected: float) -> Case:  # fmt: skip
    payload = json.dumps(message).encode()
    return Case(decoder, topic, payload, payload, readings, value, expected)


def _latitude(readings: ReadingBatch) -> float:
    return readings.positions[0].latitude_deg


def _rssi(readings: ReadingBatch) -> float:
    return readings.tags[0].rssi_dbm


_REPORTED: Final = {
    "ts": NOW_US // 1000, "pr": 0, "latlng": "54.693800,25.279700", "alt": 120, "ang": 270, "sat": 9, "sp": 90,
    "evt": 0, "239": 1, "240": 1, "21": 5, "200": 0, "69": 1, "181": 11, "182": 5, "66": 12_600, "67": 4_096, "68": 0,
    "16": 15_056,
}  # fmt: skip
# One record of Codec 8, with the elements 239, 240, 66, 67, 68 and 16; framed with its length and check sum.
_PACKET: Final = bytes.fromhex(
    "0000000000000033" "0801" "0000018bcfe56800" "01" "0f116048" "20999c90" "0078" "010e" "09" "005a"
    "0006" "02" "ef01" "f001" "03" "423138" "431000" "440000" "01" "1000003ad0" "00" "01" "00005091"
)  # fmt: skip
_TAG: Final = {
    "timestamp": TIME, "hostname": "impinj-14-a1-b2", "eventType": "tagInventory",
    "tagInventoryEvent": {
        "epc": "MHQle_cZTkAAABqF", "epcHex": "3074257BF7194E4000001A85", "antennaPort": 3, "peakRssiCdbm": -5325,
        "frequency": 866900, "lastSeenTime": TIME,
    },
}  # fmt: skip
_DATA: Final = {"eventNum": 1, "format": "epc", "idHex": "3074257BF7194E4000001A85", "antenna": 2, "peakRssi": -47}
_DECODED: Final = {"temperature": 4.5, "humidity": 55, "latitude": 54.6938, "longitude": 25.2797, "vbat": 3600}
_RX: Final = {"gatewayId": "0016c001f153a14c", "rssi": -36, "snr": 10.5, "location": {"latitude": 1, "longitude": 2}}

CASES: Final = (
    _json("json", "", {"observed_at_us": NOW_US, "latitude_deg": 54.6938, "longitude_deg": 25.2797, "speed_mps": 25},
          1, _latitude, 54.6938),
    _json("owntracks", "owntracks/jane/phone", {"_type": "location", "lat": 54.6938, "lon": 25.2797,
          "tst": 1_700_000_000, "acc": 5, "alt": 120, "vel": 90, "cog": 270, "batt": 88, "t": "t", "tid": "jp"},
          2, _latitude, 54.6938),
    _json("teltonika_json", "", {"state": {"reported": _REPORTED}}, 5, _latitude, 54.6938),
    Case("teltonika_codec", "", _PACKET, json.dumps({"state": {"reported": _REPORTED}}).encode(), 5, _latitude,
         54.6938),
    _json("impinj", "", _TAG, 1, _rssi, -53.25),
    _json("zebra", "", {"data": _DATA, "timestamp": TIME, "type": "SIMPLE"}, 1, _rssi, -47),
    _json("chirpstack", "", {"time": TIME, "deviceInfo": {"devEui": "0101010101010101"}, "fCnt": 12, "fPort": 1,
          "data": "qg==", "object": _DECODED, "rxInfo": [_RX] * 3}, 3, _latitude, 54.6938),
    _json("tts", "", {"end_device_ids": {"device_id": "dev1"}, "received_at": TIME, "uplink_message": {"f_cnt": 12,
          "frm_payload": "gkHe", "decoded_payload": _DECODED, "rx_metadata": [_RX] * 3}}, 3, _latitude, 54.6938),
    _json("json_fields", "", _DECODED, 3, _latitude, 54.6938),
)  # fmt: skip


def run(options: Options) -> Iterator[Result]:
    count = 5_000 if options.quick else 20_000
    for case in CASES:
        if options.wants(case.decoder):
            yield _measured(case, count)


def _measured(case: Case, count: int) -> Result:
    decoders = Decoders([TopicRule(filter="a/+", decoder=case.decoder, device_levels=(1,), tenant="acme")])
    number = decoders.rules[0].number

    def ours() -> None:
        for _ in range(count):
            decoders.decode(number, case.topic, case.payload, NOW_US)

    def peer() -> None:
        for _ in range(count):
            json.loads(case.peer)

    pairs = measure_pairs(ours, peer)
    answer = decoders.decode(number, case.topic, case.payload, NOW_US)
    checked = (
        isinstance(answer, ReadingBatch)
        and len(answer.positions) + len(answer.sensors) + len(answer.tags) == case.readings
        and abs(case.value(answer) - case.expected) < 1e-6
    )
    notes = {"bytes": len(case.payload), "readings": case.readings}
    return rate_result(case.decoder, pairs, count=count, unit="messages/s", checked=checked, notes=notes)


if __name__ == "__main__":
    main("formats", run)
