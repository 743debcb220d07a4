"""What must be known of one Sparkplug edge node to understand its data: births, aliases, the running number.

Source: Sparkplug 3.0.0, sections 6.4.5 (`seq`), 6.4.6 (aliases), 6.4.19 to 6.4.26 (births, data and deaths). A pure
machine: it is told messages, and says what they mean and whether the node must be asked for a rebirth.

A gap in the running number leaves the aliases as they are, because they change with a birth only; but a value that was
lost in the gap may be the other half of a location, so that no earlier value is believed any more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

from drover.foreign.v1.sparkplug_b_pb2 import SparkplugPayload
from ingest.decoders.sparkplug_metric import MetricNames, Sample, Target, is_whole, value_of

NODE: Final = ""
"""The edge node itself, among its devices."""

FIRST_PAUSE_US: Final = 10_000_000
"""How long a node has for its births before it is asked again: they are many and large, and all hosts get them."""

LONGEST_PAUSE_US: Final = 600_000_000
"""The pause doubles up to this while rebirths do not help: then messages never reach us, and asking brings none."""

_SEQUENCES: Final = 256
_BD_SEQ: Final = "bdSeq"


class NoBirthError(Exception):
    """Something in the message means nothing without a birth that was not seen."""


class BadMetricError(Exception):
    """A metric that says not what it must."""


@dataclasses.dataclass(slots=True)
class Known:
    """A metric as its birth said it. `target` is None where it is nothing of ours."""

    target: Target | None
    datatype: int


@dataclasses.dataclass(slots=True)
class Born:
    """The node or a device after its birth."""

    aliases: dict[int, Known] = dataclasses.field(default_factory=dict)
    names: dict[str, Known] = dataclasses.field(default_factory=dict)
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    """The present values of what makes a fix."""

    @property
    def weight(self) -> int:
        """In metrics."""
        return 1 + len(self.aliases) + len(self.names)


class EdgeNode:
    """One node and its devices."""

    def __init__(self, names: MetricNames) -> None:
        self._names: Final = names
        self._born: Final[dict[str, Born]] = {}
        self._bd_seq: float | None = None
        self._seq: int | None = None
        self._asked_at_us: int | None = None
        self._pause_us = FIRST_PAUSE_US
        self.heard_at_us: int | None = None
        """When its newest message was received. What was received before it is a replay, and changes nothing."""
        self.weight = 1
        """How much is remembered, in metrics."""

    def born(self, device: str) -> Born | None:
        """The node or device; None before its birth and after its death."""
        return self._born.get(device)

    def count(self, payload: SparkplugPayload) -> bool:
        """Follows the running number; False after a gap."""
        if not payload.HasField("seq"):
            return True
        seq, before = payload.seq % _SEQUENCES, self._seq
        self._seq = seq
        # The same number again is the same message again.
        if before is None or seq in {before, (before + 1) % _SEQUENCES}:
            return True
        for born in self._born.values():
            born.values.clear()
        return False

    def forget(self) -> None:
        """Forgets all births, and not when it was asked for them."""
        self._born.clear()
        self.weight = 1

    def be_born(self, device: str, payload: SparkplugPayload) -> None:
        """A birth: that of the node forgets all devices, which follow with births of their own."""
        born = Born()
        if device == NODE:
            self.forget()
            self._seq = payload.seq % _SEQUENCES if payload.HasField("seq") else None
            self._bd_seq = _bd_seq(payload)
        for metric in payload.metrics:
            name = metric.name.decode(errors="replace")
            known = Known(self._names.target(name), metric.datatype)
            if metric.HasField("alias"):
                born.aliases[metric.alias] = known
            if known.target is not None:
                born.names[name] = known
        self._drop(device)
        self._born[device] = born
        self.weight += born.weight

    def die(self, device: str, payload: SparkplugPayload) -> bool:
        """A death; False for one of an earlier session of the node, which the broker delivered late."""
        if device != NODE:
            self._drop(device)
            return True
        bd_seq = _bd_seq(payload)
        if self._bd_seq is not None and bd_seq is not None and bd_seq != self._bd_seq:
            return False
        self.forget()
        self._seq = None
        return True

    def _drop(self, device: str) -> None:
        born = self._born.pop(device, None)
        if born is not None:
            self.weight -= born.weight

    def samples(self, device: str, payload: SparkplugPayload) -> list[Sample]:
        """What the metrics say of our fields. Raises NoBirthError and BadMetricError."""
        born = self._born.get(device)
        found = []
        for metric in payload.metrics:
            if metric.HasField("name") and metric.name:
                name = metric.name.decode(errors="replace")
                known = born.names.get(name) if born is not None else None
                if known is None:
                    known = Known(self._names.target(name), 0)
                    if known.target is not None and is_whole(metric) and not metric.HasField("datatype"):
                        raise NoBirthError(f"a whole number of an unknown type: {name[:100]!r}")
            elif metric.HasField("alias"):
                unknown = None if born is None else born.aliases.get(metric.alias)
                if unknown is None:
                    raise NoBirthError(f"alias {metric.alias}")
                known = unknown
            else:
                raise BadMetricError("a metric without a name and without an alias")
            if known.target is None or metric.is_transient:
                continue
            if not metric.HasField("timestamp") and not payload.HasField("timestamp"):
                raise BadMetricError("a metric without a time")
            time_ms = metric.timestamp if metric.HasField("timestamp") else payload.timestamp
            value = value_of(metric, metric.datatype if metric.HasField("datatype") else known.datatype)
            field, probe, source = known.target
            value = None if value is None else value * source.scale + source.offset
            found.append(Sample(field, probe, time_ms, value, metric.is_historical))
        return found

    def may_ask(self, now_us: int) -> bool:
        """Whether to ask for a rebirth now; counts as asked."""
        if self._asked_at_us is not None:
            since_us = now_us - self._asked_at_us
            if 0 <= since_us < self._pause_us:
                return False
            quiet = since_us > 2 * self._pause_us
            self._pause_us = FIRST_PAUSE_US if quiet else min(2 * self._pause_us, LONGEST_PAUSE_US)
        self._asked_at_us = now_us
        return True


def _bd_seq(payload: SparkplugPayload) -> float | None:
    numbers: Iterable[float | None] = (
        value_of(metric, metric.datatype) for metric in payload.metrics if metric.name == _BD_SEQ.encode()
    )
    return next(iter(numbers), None)
