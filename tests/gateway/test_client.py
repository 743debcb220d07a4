"""A client's queues, resumption and messages, without a socket."""

from __future__ import annotations

import json

import numpy as np
import pydantic
import pytest

from gateway.live.audience import Audience
from gateway.live.client import Client
from gateway.live.frames import Kind
from gateway.live.rate_limit import RateLimit
from gateway.live.subscription import Subscription, Viewport, parse_message
from tests.gateway.test_positions_table import Screen, fixes, make_tenant

EVERYTHING = Subscription(None, None, "binary", "all")


def drain(client: Client) -> list[str]:
    found = []
    while (message := client.next_event()) is not None:
        found.append(message)
    return found


def test_events_wait_in_order() -> None:
    client = Audience(make_tenant(0)).join(4)
    for each in "abcd":
        client.push(each)
    assert drain(client) == ["a", "b", "c", "d"]


def test_a_full_queue_gives_way_at_its_old_end_and_says_so() -> None:
    client = Audience(make_tenant(0)).join(4)
    for each in "abcdefg":
        client.push(each)
    first, *rest = drain(client)
    assert json.loads(first) == {"type": "events_missed", "count": 3}
    assert rest == ["d", "e", "f", "g"]
    assert drain(client) == []


@pytest.mark.parametrize(
    ("events", "numbers", "wanted"),
    [
        ("all", None, {(1, True), (1, False), (2, True), (2, False)}),
        ("alerts", None, {(1, True), (2, True)}),
        ("none", None, set()),
        ("all", (1,), {(1, True), (1, False)}),
        ("alerts", (1,), {(1, True)}),
    ],
)
def test_which_events_a_client_wants(events, numbers, wanted) -> None:
    client = Audience(make_tenant(3)).join(4)
    assert not client.wants_event(1, alert=True)
    client.subscribe(Subscription(None, numbers, "binary", events), None)
    found = {(number, alert) for number in (1, 2) for alert in (True, False) if client.wants_event(number, alert=alert)}
    assert found == wanted


def _resumed(
    sequence_of_break: int, subscription: Subscription = EVERYTHING, *, token: str | None = None
) -> list[Kind]:
    """The kinds of frames that a client which comes back after two more ticks gets."""
    tenant = make_tenant(2, history_ticks=3)
    for at in range(5):
        tenant.table.take(np.array([at % 2]), fixes([(at, 1.0 * at, 0.0)]))
        tenant.table.advance()
    first = Audience(tenant).join(4)
    first.subscribe(EVERYTHING, None)
    found = first.next_frame()
    assert found is not None
    second, screen = Audience(tenant).join(4), Screen()
    tenant.table.take(np.array([0]), fixes([(9, 9.0, 0.0)]))
    tenant.table.advance()
    second.subscribe(subscription, (token or first.resume_token(), sequence_of_break))
    while (frame := second.next_frame()) is not None:
        screen.take(frame[0], frame[1].data)
    return screen.kinds


def test_a_client_that_comes_back_goes_on() -> None:
    assert _resumed(5) == [Kind.DIFFERENCE]
    assert _resumed(3) == [Kind.DIFFERENCE]


def test_a_client_that_comes_back_too_late_or_to_something_else_begins_anew() -> None:
    assert _resumed(2) == [Kind.SNAPSHOT]
    assert _resumed(99) == [Kind.SNAPSHOT]
    assert _resumed(5, token="another.token") == [Kind.SNAPSHOT]
    assert _resumed(5, Subscription(Viewport(0, -1, 20, 1), None, "binary", "all")) == [Kind.SNAPSHOT]


def test_nothing_is_shown_before_positions_were_fetched() -> None:
    tenant = make_tenant(1)
    tenant.loaded = False
    client = Audience(tenant).join(4)
    client.subscribe(EVERYTHING, None)
    assert client.next_frame() is None
    tenant.loaded = True
    assert client.next_frame() is not None


def test_frames_are_made_once_for_all_who_see_the_same() -> None:
    tenant = make_tenant(2)
    audience = Audience(tenant)
    clients = [audience.join(4) for _ in range(3)]
    for client in clients:
        client.subscribe(EVERYTHING, None)
    frames = [client.next_frame() for client in clients]
    assert all(frame is not None and frame[1] is frames[0][1] for frame in frames if frames[0] is not None)
    for client in clients:
        client.close()
    assert not tenant.selections


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"type": "fly"}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "everything": false}',
        '{"type": "subscribe", "everything": true, "devices": []}',
        '{"type": "subscribe", "everything": true, "colour": "red"}',
        '{"type": "subscribe", "viewport": [1, 2, 3]}',
        '{"type": "subscribe", "viewport": [1, 2, 3, "4"]}',
        '{"type": "subscribe", "viewport": [1, 2, 3, null]}',
        '{"type": "subscribe", "viewport": [1, 2, 3, NaN]}',
        '{"type": "subscribe", "viewport": [0, 5, 1, 4]}',
        '{"type": "subscribe", "devices": [7]}',
        '{"type": "subscribe", "devices": "truck-1"}',
        '{"type": "subscribe", "everything": true, "format": "xml"}',
        '{"type": "subscribe", "everything": true, "resume": 7}',
        '{"type": "subscribe", "everything": true, "sequence": -1}',
        '{"type": "ping", "extra": 1}',
    ],
)
def test_bad_messages_are_refused(message: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        parse_message(message)


def test_good_messages_are_taken() -> None:
    for message in (
        '{"type": "ping"}',
        '{"type": "subscribe", "viewport": [9, 53, 10.5, 54]}',
        '{"type": "subscribe", "devices": []}',
        '{"type": "subscribe", "everything": true, "resume": null, "format": "json", "events": "none"}',
        '{"type": "subscribe", "everything": true, "resume": "a.b", "sequence": 12}',
    ):
        parse_message(message)


def test_a_client_may_speak_in_bursts_but_not_lastingly() -> None:
    limit = RateLimit(10.0, 20.0)
    assert sum(limit.allows(0.0) for _ in range(30)) == 20
    assert not limit.allows(0.05)
    assert limit.allows(0.2)
    assert sum(limit.allows(100.0) for _ in range(30)) == 20
