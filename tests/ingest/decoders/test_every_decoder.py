"""What holds for every decoder of a foreign format: whatever the bytes, readings or a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders import FIRST_FOREIGN, MADE, PLAIN, SPEAKING, Decoders
from ingest.reasons import Rejection
from ingest.settings import TopicRule
from tests.ingest.rig import NOW_US

NAMES = [*PLAIN, *MADE, *SPEAKING]
NESTED = 100_000


def decoded(name: str, payload: bytes) -> ReadingBatch | Rejection:
    rule = TopicRule(filter="a/+", decoder=name, device_levels=(1,), tenant="acme")
    decoders = Decoders([rule])
    return decoders.decode(decoders.rules[0].number, "a/b", payload, NOW_US)


def test_their_numbers_are_foreign() -> None:
    rules = [TopicRule(filter="a/+", decoder=name, device_levels=(1,), tenant="acme") for name in NAMES]
    numbers = [number for _, number in Decoders(rules).rules]
    assert min(numbers) == FIRST_FOREIGN
    assert len(set(numbers)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "payload",
    [
        b"[" * NESTED,
        b'{"a":' * NESTED,
        b'{"unread":' + b"[" * NESTED + b"]" * NESTED + b"}",
        b'[{"unread":' + b"[" * NESTED + b"]" * NESTED + b"}]",
        b'{"unread":' + b"9" * NESTED + b"}",
        b"9" * NESTED,
        b'"\xff"',
        b"null",
        b"[]",
        b"{}",
        b"\x00" * NESTED,
        b"\xff" * NESTED,
        b"\n" * NESTED,
    ],
    ids=lambda payload: payload[:12].decode(errors="backslashreplace"),
)
def test_traps(name: str, payload: bytes) -> None:
    assert isinstance(decoded(name, payload), Rejection)


@pytest.mark.parametrize("name", NAMES)
@given(payload=st.binary() | st.text().map(str.encode))
def test_any_bytes(name: str, payload: bytes) -> None:
    assert isinstance(decoded(name, payload), ReadingBatch | Rejection)
