"""Topics: native, mapped, and wrong."""

from __future__ import annotations

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders import MADE, NUMBERS, Decoders
from ingest.decoders.signature import Decode
from ingest.devices.device_name import DeviceName
from ingest.reasons import Reason, Rejection
from ingest.settings import IngestSettings, TopicRule
from ingest.topics.rules import Route, TopicRules
from runtime.problems import FatalError
from tests.ingest.rig import OWNTRACKS

VENDOR = TopicRule(filter="vendor/+/+/data", decoder="json", device_levels=(2,), tenant_level=1)
RULES = TopicRules(Decoders([VENDOR, OWNTRACKS]))


@pytest.mark.parametrize("kind", ["position", "sensor", "tag", "batch", "json"])
def test_native_topics(kind: str) -> None:
    assert RULES.match(f"drover/v1/acme/truck-1/{kind}".encode()) == Route(DeviceName("acme", "truck-1"), NUMBERS[kind])


@pytest.mark.parametrize("kind", ["position", "sensor", "tag", "batch"])
def test_native_topics_in_json(kind: str) -> None:
    route = Route(DeviceName("acme", "truck-1"), NUMBERS["json"])
    assert RULES.match(f"drover/v1/acme/truck-1/{kind}/json".encode()) == route


@pytest.mark.parametrize(
    ("topic", "name", "decoder"),
    [
        (b"owntracks/jane/phone", DeviceName("acme", "jane.phone"), "owntracks"),
        (b"owntracks/jane/phone/event", DeviceName("acme", "jane.phone"), "owntracks"),
        (b"vendor/other/4711/data", DeviceName("other", "4711"), "json"),
    ],
)
def test_mapped_topics(topic: bytes, name: DeviceName, decoder: str) -> None:
    assert RULES.match(topic) == Route(name, NUMBERS[decoder])


@pytest.mark.parametrize(
    ("topic", "device_id"),
    [
        (b"sp/yard/NDATA/gate", "yard.gate"),
        (b"sp/yard/DDATA/gate/truck", "yard.gate.truck"),
        (b"sp/yard/DDATA/gate/truck/more", "yard.gate.truck"),
    ],
)
def test_a_level_that_some_topics_have(topic: bytes, device_id: str) -> None:
    rule = TopicRule(filter="sp/+/+/+/#", decoder="json", device_levels=(1, 3), optional_device_level=4, tenant="acme")
    answer = TopicRules(Decoders([rule])).match(topic)
    assert isinstance(answer, Route)
    assert answer.name == DeviceName("acme", device_id)


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        (b"", Reason.UNKNOWN_TOPIC),
        (b"drover/v1/acme/truck", Reason.UNKNOWN_TOPIC),
        (b"drover/v1/acme/truck/cmd", Reason.UNKNOWN_TOPIC),
        (b"drover/v1/acme/truck/position/more", Reason.UNKNOWN_TOPIC),
        (b"drover/v1/acme/truck/cmd/json", Reason.UNKNOWN_TOPIC),
        (b"drover/v1/acme/truck/json/json", Reason.UNKNOWN_TOPIC),
        (b"drover/v1/acme//position", Reason.BAD_DEVICE_ID),
        (b"drover/v1//truck/position", Reason.BAD_DEVICE_ID),
        (b"drover/v1/acme/tr uck/position", Reason.BAD_DEVICE_ID),
        (b"drover/v1/acme/" + b"x" * 65 + b"/position", Reason.BAD_DEVICE_ID),
        ("drover/v1/acme/laster-ä/position".encode(), Reason.BAD_DEVICE_ID),
        (b"drover/v1/acme/\xff/position", Reason.BAD_ENCODING),
        (b"vendor/other/4711/status", Reason.UNKNOWN_TOPIC),
        (b"owntracks/jane", Reason.UNKNOWN_TOPIC),
    ],
)
def test_reasons(topic: bytes, reason: Reason) -> None:
    answer = RULES.match(topic)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason


def test_filters_name_all_kinds_but_no_downlink() -> None:
    assert RULES.filters == (
        *(f"drover/v1/+/+/{kind}" for kind in ("position", "sensor", "tag", "batch")),
        *(f"drover/v1/+/+/{kind}/json" for kind in ("position", "sensor", "tag", "batch")),
        "drover/v1/+/+/json",
        "vendor/+/+/data",
        "owntracks/+/+/#",
    )


def test_the_tenant_of_a_topic_that_leads_nowhere() -> None:
    assert RULES.tenant_of(b"drover/v1/acme/truck/position") == "acme"
    assert RULES.tenant_of(b"drover/v1/acme/tr uck/position") == "acme"
    assert RULES.tenant_of(b"drover/v1/a cme/truck/position") is None
    assert RULES.tenant_of(b"elsewhere") is None


def test_owntracks_needs_a_tenant() -> None:
    assert IngestSettings().topic_rules() == ()
    assert IngestSettings(owntracks_tenant="acme").topic_rules() == (OWNTRACKS,)


@pytest.mark.parametrize("more", [{}, {"tenant": "a", "tenant_level": 1}, {"tenant": "a b"}])
def test_a_rule_names_one_tenant(more: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError, match="topic rule a/b"):
        TopicRule.model_validate({"filter": "a/b", "decoder": "json", "device_levels": (1,)} | more)


def test_an_unknown_decoder_is_refused() -> None:
    with pytest.raises(FatalError, match="topic rule a/b: unknown decoder 'jsonn'; did you mean json"):
        Decoders([TopicRule(filter="a/b", decoder="jsonn", device_levels=(1,), tenant="acme")])
    with pytest.raises(FatalError, match="unknown decoder 'xyz'; known are batch, "):
        Decoders([TopicRule(filter="a/b", decoder="xyz", device_levels=(1,), tenant="acme")])


def test_each_rule_has_a_decoder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(rule: TopicRule) -> Decode:
        count = 0

        def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:
            nonlocal count
            count += 1
            return Rejection(Reason.NOT_A_READING, f"{rule.filter} {count}")

        return decode

    monkeypatch.setitem(MADE, "counting", make)
    first, second = (
        TopicRule(filter=text, decoder="counting", device_levels=(1,), tenant="acme") for text in ("a/+", "b/+")
    )
    decoders = Decoders([first, OWNTRACKS, second])
    rules = TopicRules(decoders)
    numbers = [route.decoder for route in map(rules.match, (b"a/x", b"b/x", b"a/y")) if isinstance(route, Route)]
    details = [decoders.decode(number, "", b"", 0) for number in numbers]
    assert details == [Rejection(Reason.NOT_A_READING, text) for text in ("a/+ 1", "b/+ 1", "a/+ 2")]
    with pytest.raises(FatalError, match="topic rule b/\\+: too many rules"):
        Decoders([second] * 256)


def test_rules_from_the_environment() -> None:
    text = '[{"filter": "a/+", "decoder": "json", "device_levels": [1], "tenant": "acme"}]'
    settings = IngestSettings.model_validate({"topics": text, "mqtt_urls": "mqtt://one, mqtt://two"})
    assert settings.topics[0].device_levels == (1,)
    assert [url.get_secret_value() for url in settings.mqtt_urls] == ["mqtt://one", "mqtt://two"]


_LEVELS = st.lists(st.sampled_from(["drover", "v1", "acme", "owntracks", "x", "", "json"]))


@given(st.binary() | _LEVELS.map(lambda levels: "/".join(levels).encode()))
def test_any_topic_has_a_route_or_a_reason(topic: bytes) -> None:
    assert isinstance(RULES.match(topic), Route | Rejection)
