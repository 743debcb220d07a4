"""From a topic to who sent it and how to read it. Runs once a topic: `table.py` remembers the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ingest.decoders import NATIVE, NUMBERS, Decoders
from ingest.devices.device_name import DeviceName, is_device_id, is_tenant
from ingest.reasons import Reason, Rejection

_KINDS: Final = tuple(NATIVE)
NATIVE_TAILS: Final = (*_KINDS, *(f"{kind}/json" for kind in _KINDS), "json")
"""What follows `drover/v1/{tenant}/{device}/`."""


class Route(NamedTuple):
    """Where a topic leads."""

    name: DeviceName
    decoder: int


class TopicRules:
    """The native topics, and the configured ones. The first rule that matches holds; native topics come first.

    `decoders` has the rules, and a decoder for each.
    """

    def __init__(self, decoders: Decoders) -> None:
        self.decoders: Final = decoders
        self._rules: Final = [(rule, rule.filter.split("/"), number) for rule, number in decoders.rules]

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to. Native topics one by one, because `.../cmd` and `.../ack` are not for us: with all of
        `drover/v1` subscribed, misspelt topics would be seen, but the broker would have a subscriber to every command,
        and one to a device that is not there would look as if it had been sent.
        """
        native = (f"drover/v1/+/+/{tail}" for tail in NATIVE_TAILS)
        return (*native, *(rule.filter for rule, _, _ in self._rules))

    def match(self, topic: bytes) -> Route | Rejection:
        """The route of a topic, or why it has none."""
        try:
            levels = topic.decode().split("/")
        except UnicodeDecodeError:
            return Rejection(Reason.BAD_ENCODING, "the topic is not UTF-8")
        if levels[:2] == ["drover", "v1"]:
            if "/".join(levels[4:]) not in NATIVE_TAILS:
                return Rejection(Reason.UNKNOWN_TOPIC, f"after the device stands one of {', '.join(NATIVE_TAILS)}")
            return _route(levels[2], levels[3], NUMBERS[levels[-1]])
        for rule, filter_levels, decoder in self._rules:
            if _matches(filter_levels, levels):
                if max(rule.device_levels) >= len(levels) or (rule.tenant_level or 0) >= len(levels):
                    return Rejection(Reason.UNKNOWN_TOPIC, f"too few levels for the rule {rule.filter}")
                tenant = rule.tenant if rule.tenant_level is None else levels[rule.tenant_level]
                named = list(rule.device_levels)
                if rule.optional_device_level is not None and rule.optional_device_level < len(levels):
                    named.append(rule.optional_device_level)
                return _route(tenant or "", ".".join(levels[level] for level in named), decoder)
        return Rejection(Reason.UNKNOWN_TOPIC)

    def tenant_of(self, topic: bytes) -> str | None:
        """The tenant that a topic names, also one that leads nowhere: who may see its dead letters."""
        route = self.match(topic)
        if isinstance(route, Route):
            return route.name.tenant
        levels = topic.decode(errors="replace").split("/")
        named = levels[2] if levels[:2] == ["drover", "v1"] and len(levels) > 2 else ""
        return named if is_tenant(named) else None


def _route(tenant: str, device_id: str, decoder: int) -> Route | Rejection:
    if not is_tenant(tenant):
        return Rejection(Reason.BAD_DEVICE_ID, f"tenant {tenant[:200]!r}")
    if not is_device_id(device_id):
        return Rejection(Reason.BAD_DEVICE_ID, f"device {device_id[:200]!r}")
    return Route(DeviceName(tenant, device_id), decoder)


def _matches(filter_levels: Sequence[str], levels: Sequence[str]) -> bool:
    """MQTT 5.0, section 4.7: `+` is one level, a last `#` is any number of levels, and the level above."""
    for index, wanted in enumerate(filter_levels):
        if wanted == "#":
            return True
        if index >= len(levels) or wanted not in {"+", levels[index]}:
            return False
    return len(levels) == len(filter_levels)
