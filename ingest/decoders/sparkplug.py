"""Sparkplug B: payloads of edge nodes and their devices, understood through their births.

Source: Sparkplug 3.0.0: topics section 4, operation section 5, payloads section 6. `sparkplug_node.py` keeps what
births said, `sparkplug_metric.py` reads one metric, `sparkplug_fixes.py` makes readings.

The device is `{group}.{edge}` or `{group}.{edge}.{device}`, by a rule with `optional_device_level`. After a gap in the
running number, for an alias or a birth that is not known, and after a restart of ours, the node is asked for a rebirth:
an NCMD that sets `Node Control/Rebirth`. What means nothing until then is refused as `no_birth`, and kept; replayed, it
is read with the aliases of the newest birth.

What is remembered may be lost: it is asked for again.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from drover.foreign.v1.sparkplug_b_pb2 import SparkplugMetric, SparkplugPayload
from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders.lru_table import LruTable
from ingest.decoders.signature import Decode, Publish
from ingest.decoders.sparkplug_fixes import readings
from ingest.decoders.sparkplug_metric import MetricNames
from ingest.decoders.sparkplug_node import NODE, BadMetricError, EdgeNode, NoBirthError
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule
from runtime.metrics import Counter

_ASKED: Final = Counter("drover_ingest_sparkplug_rebirths_asked", "Rebirths asked of Sparkplug edge nodes.")

NAMESPACE: Final = "spBv1.0"

MAX_METRICS: Final = 1_000_000
"""Metrics remembered of all nodes together; about a hundred bytes each."""

MAX_PAYLOAD_METRICS: Final = 50_000
"""Metrics of one payload: what more costs would be felt by others."""

_REBIRTH: Final = b"Node Control/Rebirth"
_BOOLEAN: Final = 11
# What every node has, and some devices: commands, and the number of the session.
_NO_MEASURES: Final = ("bdSeq", "Node Control/", "Device Control/")
_NODE_LEVELS: Final = 4
_DEVICE_LEVELS: Final = 5
_OF_NODES: Final = frozenset({"NBIRTH", "NDATA", "NDEATH"})
_OF_DEVICES: Final = frozenset({"DBIRTH", "DDATA", "DDEATH"})
_NOT_FOR_US: Final = frozenset({"NCMD", "DCMD"})
_PLACE: Final = frozenset({"latitude_deg", "longitude_deg"})
# Beyond this, microseconds do not fit 64 bits; the clock is judged later, by admission.
_MAX_TIME_MS: Final = 9 * 10**15


def decoder(rule: TopicRule, publish: Publish) -> Decode:
    """A decoder with a memory of its own, that asks for rebirths by `publish`."""
    return SparkplugDecoder(publish, MetricNames(rule.fields)).decode


class SparkplugDecoder:
    """Keeps what the births of edge nodes said."""

    def __init__(self, publish: Publish, names: MetricNames, max_metrics: int = MAX_METRICS) -> None:
        self._publish: Final = publish
        self._names: Final = names
        self._max_metrics: Final = max_metrics
        self._nodes: Final[LruTable[EdgeNode]] = LruTable(max_metrics)

    def decode(self, topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:
        """The readings of one message; births have readings too."""
        namespace, *levels = topic.split("/")
        kind = levels[1] if len(levels) > 1 else ""
        if namespace != NAMESPACE:
            return Rejection(Reason.UNKNOWN_TOPIC, f"the first level is not {NAMESPACE}")
        if levels[:1] == ["STATE"] or kind in _NOT_FOR_US:
            return Rejection(Reason.NOT_A_READING, kind if kind in _NOT_FOR_US else "STATE")
        wanted = _NODE_LEVELS if kind in _OF_NODES else _DEVICE_LEVELS if kind in _OF_DEVICES else 0
        if len(levels) + 1 != wanted:
            return Rejection(Reason.UNKNOWN_TOPIC, f"no Sparkplug message {kind[:100]!r} has {len(levels) + 1} levels")
        try:
            message = SparkplugPayload.FromString(payload)
        except DecodeError as error:
            return Rejection(Reason.MALFORMED, str(error))
        if len(message.metrics) > MAX_PAYLOAD_METRICS:
            return Rejection(Reason.TOO_LARGE, f"{len(message.metrics)} metrics")
        return self._take(f"{levels[0]}/{levels[2]}", kind, [*levels, NODE][3], message, received_at_us)

    def _take(
        self, name: str, kind: str, device: str, message: SparkplugPayload, received_at_us: int
    ) -> ReadingBatch | Rejection:
        node = self._nodes.get(name)
        is_new = node is None
        node = node or EdgeNode(self._names)
        if node.heard_at_us is not None and received_at_us < node.heard_at_us:
            return _read(node, device, kind, message, is_replay=True)
        node.heard_at_us = received_at_us
        is_lost = _follow(node, kind, device, message)
        if is_new or kind not in {"NDATA", "DDATA"}:
            if node.weight > self._max_metrics:
                node.forget()
            self._nodes.put(name, node, node.weight)
        answer = _read(node, device, kind, message, is_replay=False)
        if isinstance(answer, Rejection) and answer.reason is Reason.NO_BIRTH:
            is_lost = True
        if is_lost and node.may_ask(received_at_us):
            self._ask(name, received_at_us)
        return answer

    def _ask(self, name: str, now_us: int) -> None:
        group, edge = name.split("/")
        rebirth = SparkplugMetric(name=_REBIRTH, timestamp=now_us // 1000, datatype=_BOOLEAN, boolean_value=True)
        payload = SparkplugPayload(timestamp=now_us // 1000, metrics=[rebirth])
        self._publish(f"{NAMESPACE}/{group}/NCMD/{edge}", payload.SerializeToString())
        _ASKED.inc()


def _follow(node: EdgeNode, kind: str, device: str, message: SparkplugPayload) -> bool:
    """What a message changes; whether the node must be asked for a rebirth."""
    if kind == "NBIRTH":
        node.be_born(NODE, message)
        return False
    if kind == "NDEATH":
        node.die(NODE, message)
        return False
    is_gap = not node.count(message)
    if kind == "DBIRTH":
        node.be_born(device, message)
    elif kind == "DDEATH":
        node.die(device, message)
        return is_gap
    # A device may be born before us what the node was born before: its node is missing all the same.
    return is_gap or node.born(NODE) is None or node.born(device) is None


def _read(
    node: EdgeNode, device: str, kind: str, message: SparkplugPayload, *, is_replay: bool
) -> ReadingBatch | Rejection:
    if kind.endswith("DEATH"):
        return Rejection(Reason.NOT_A_READING, kind)
    try:
        samples = node.samples(device, message)
    except NoBirthError as error:
        return Rejection(Reason.NO_BIRTH, str(error))
    except BadMetricError as error:
        return Rejection(Reason.MISSING_FIELD, str(error))
    if any(sample.time_ms > _MAX_TIME_MS for sample in samples):
        return Rejection(Reason.VALUE_OUT_OF_RANGE, "a time")
    born = node.born(device)
    batch = readings(samples, born.values if born is not None and not is_replay else {})
    if batch.positions or batch.sensors:
        return batch
    if any(sample.field in _PLACE and sample.value is not None for sample in samples):
        return Rejection(Reason.NO_LOCATION, "half a location, and the other half is not known")
    if not samples and kind.endswith("BIRTH"):
        names = [metric.name.decode(errors="replace") for metric in message.metrics]
        others = [name for name in names if not name.startswith(_NO_MEASURES)]
        if others:
            return Rejection(Reason.UNKNOWN_TYPE, f"no metric is a field of ours: {', '.join(others)[:400]}")
    return Rejection(Reason.NOT_A_READING, "no metric of ours, or none with a value")
