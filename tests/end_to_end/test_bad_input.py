"""Whatever is sent: a clear reason, nothing lost, nothing stopped."""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from drover.telemetry.v1 import reading_pb2
from tests.end_to_end.stack_process import StackProcess

pytestmark = [pytest.mark.end_to_end, pytest.mark.server, pytest.mark.timeout(300)]

NOW_US = int(time.time() * 1e6)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    stack = StackProcess(tmp_path_factory.mktemp("bad") / "data", "--no-auto-provision")
    stack.start()
    answer = stack.http.post("/v1/devices", json={"device_id": "truck", "display_name": "Truck"})
    assert answer.status_code in {200, 201}, answer.text
    yield stack
    stack.stop()


def position(**fields: Any) -> bytes:
    sound = {"observed_at_us": int(time.time() * 1e6), "latitude_deg": 52.5, "longitude_deg": 13.4}
    return reading_pb2.Position(**{**sound, **fields}).SerializeToString()


@pytest.fixture
def publish(stack: StackProcess) -> Iterator[Any]:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", stack.described()["addresses"]["mqtt"])
    client.loop_start()

    def send(topic: str, payload: bytes) -> None:
        client.publish(topic, payload, qos=1).wait_for_publish(60)

    yield send
    client.disconnect()
    client.loop_stop()


def newest_letter(stack: StackProcess, topic: str) -> dict[str, Any] | None:
    letters = stack.get("/v1/dead-letters", limit=20)["items"]
    return next((letter for letter in letters if letter["topic"] == topic), None)


BAD: list[tuple[str, str, bytes, set[str]]] = [
    ("garbage", "position", b"\xff\x13\x00garbage\x80", {"malformed", "truncated"}),
    ("truncated", "position", position()[:-3], {"truncated", "malformed"}),
    ("empty", "position", b"", {"empty", "missing_field"}),
    ("nan", "position", position(latitude_deg=math.nan), {"not_finite"}),
    ("infinite", "position", position(longitude_deg=math.inf), {"not_finite"}),
    ("north of north", "position", position(latitude_deg=91.0), {"coordinate_out_of_range"}),
    ("clock in 1970", "position", position(observed_at_us=86_400_000_000), {"clock_unset"}),
    ("clock in 2100", "position", position(observed_at_us=4_102_444_800_000_000), {"clock_future"}),
    ("not JSON", "position/json", b"{latitude: 3", {"malformed"}),
    ("JSON without a place", "position/json", b'{"observed_at_us": 1700000000000000}', {"missing_field"}),
    ("64 MB", "position", bytes(64 * 1024 * 1024), {"too_large"}),
]


@pytest.mark.parametrize(("name", "kind", "payload", "reasons"), BAD, ids=[case[0] for case in BAD])
def test_a_bad_message_is_kept_with_its_reason(
    stack: StackProcess, publish: Any, name: str, kind: str, payload: bytes, reasons: set[str]
) -> None:
    before = stack.get("/v1/dead-letters", limit=1)["items"]
    publish(f"drover/v1/demo/truck/{kind}", payload)
    letter = stack.wait_until(
        f"a dead letter for {name}",
        lambda: (now := stack.get("/v1/dead-letters", limit=1)["items"]) and now != before and now[0],
        60,
    )
    assert letter["reason"] in reasons
    assert letter["topic"] == f"drover/v1/demo/truck/{kind}"
    assert letter["payload_bytes"] == len(payload)
    # And what comes after it is taken as ever.
    stored = stack.accounts()["positions_stored"]
    publish("drover/v1/demo/truck/position", position())
    stack.wait_until("a sound position after it", lambda: stack.accounts()["positions_stored"] == stored + 1, 20)


def test_an_unknown_device_s_message_can_be_replayed_once_it_is_known(stack: StackProcess, publish: Any) -> None:
    publish("drover/v1/demo/stranger/position", position(latitude_deg=50.25))
    letter = stack.wait_until("a letter", lambda: newest_letter(stack, "drover/v1/demo/stranger/position"), 20)
    assert letter["reason"] == "unknown_device"
    again = stack.drover("deadletters", "replay", str(letter["dead_letter_id"]))
    assert again.returncode == 1
    assert "unknown_device" in again.stdout
    assert stack.http.post("/v1/devices", json={"device_id": "stranger"}).status_code in {200, 201}
    again = stack.drover("deadletters", "replay", str(letter["dead_letter_id"]))
    assert again.returncode == 0, again.stdout + again.stderr
    place = stack.wait_until("the position", lambda: stack.get("/v1/devices/stranger/position"), 20)
    assert place["geometry"]["coordinates"] == [13.4, 50.25]
    listed = stack.drover("deadletters", "list", "--json")
    assert '"reason": "unknown_device"' in listed.stdout


def test_bytes_that_are_not_mqtt_stop_nothing(stack: StackProcess, publish: Any) -> None:
    for noise in (b"GET / HTTP/1.1\r\n\r\n", bytes(1000), struct.pack("!HB", 0x10FF, 0xFF) * 50):
        for port in (stack.described()["addresses"]["mqtt"], stack.described()["addresses"]["ingest"], stack.http_port):
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(noise)
    stored = stack.accounts()["positions_stored"]
    publish("drover/v1/demo/truck/position", position())
    stack.wait_until("a position", lambda: stack.accounts()["positions_stored"] == stored + 1, 20)


GOOD_RING = [[13.0, 52.0], [14.0, 52.0], [14.0, 53.0], [13.0, 52.0]]
BAD_FENCES: list[tuple[str, Any, set[str]]] = [
    (
        "self-crossing",
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
        {"self_crossing"},
    ),
    ("two points", {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}, {"too_few_points", "zero_area"}),
    (
        "off the earth",
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 91], [0, 0]]]},
        {"coordinate_out_of_range"},
    ),
    ("no coordinates", {"type": "Polygon"}, {"missing"}),
    ("words", {"type": "Polygon", "coordinates": "here"}, {"malformed"}),
    ("a shape nobody knows", {"type": "Blob", "coordinates": GOOD_RING}, {"unsupported_geometry"}),
    ("no area", {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}, {"zero_area", "self_crossing"}),
]


@pytest.mark.parametrize(("name", "geometry", "codes"), BAD_FENCES, ids=[case[0] for case in BAD_FENCES])
def test_a_bad_fence_is_refused_with_its_reason(stack: StackProcess, name: str, geometry: Any, codes: set[str]) -> None:
    feature = {"type": "Feature", "id": "bad", "properties": {"name": name}, "geometry": geometry}
    answer = stack.http.put("/v1/geofences/bad", json=feature)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] in codes
    assert answer.json()["detail"]
    assert stack.http.get("/v1/geofences/bad").status_code == 404


def test_text_that_is_not_json_is_refused(stack: StackProcess) -> None:
    answer = stack.http.put("/v1/geofences/bad", content=b"{", headers={"content-type": "application/geo+json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
