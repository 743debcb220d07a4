"""One Sparkplug metric: its value as a number, and what it is a value of.

Source: Sparkplug 3.0.0, sections 6.4.6 (metrics), 6.4.9 (quality codes) and 6.4.16 (data types). Whole numbers with a
sign are two's complement in unsigned fields, and only the datatype, which data messages leave out, says so; some
senders fill 32 bits, some only those of the type. A value of a quality other than good is none.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from drover.foreign.v1.sparkplug_b_pb2 import SparkplugMetric
from ingest.field_mapping import DEFAULTS, POSITION_FIELDS, QUANTITY_FIELDS, FieldSource, FieldSources

_GOOD: Final = 192
_BITS_OF_SIGNED: Final = {1: 8, 2: 16, 3: 32, 4: 64}


class Target(NamedTuple):
    """What of ours a metric is, and how it is converted."""

    field: str
    """One of POSITION_FIELDS or QUANTITY_FIELDS."""
    probe: int
    source: FieldSource


class Sample(NamedTuple):
    """A value of a field of ours; None where the sender says that there is none."""

    field: str
    probe: int
    time_ms: int
    value: float | None
    is_historical: bool


class MetricNames:
    """Which metric is which field. With `fields`, a path is the whole name of a metric, and no other metric is read.

    Without, the last part of a name says it, behind the last `/`, in small letters and `_` for blanks: DEFAULTS.
    """

    def __init__(self, fields: FieldSources) -> None:
        self._is_configured: Final = bool(fields)
        self._targets: Final[dict[str, Target]] = {
            source.path: Target(field, probe if self._is_configured else 0, source)
            for field, sources in (fields or DEFAULTS).items()
            if field in POSITION_FIELDS or field in QUANTITY_FIELDS
            for probe, source in enumerate(sources)
        }

    def target(self, name: str) -> Target | None:
        """What the metric called so is, if it is anything of ours."""
        if self._is_configured:
            return self._targets.get(name)
        return self._targets.get(name.rpartition("/")[2].strip().lower().replace(" ", "_"))


def value_of(metric: SparkplugMetric, datatype: int) -> float | None:
    """The value of a metric; None for null, for bad quality, and for what is no number."""
    if metric.is_null or not _is_good(metric):
        return None
    match metric.WhichOneof("value"):
        case "int_value":
            return float(_signed(metric.int_value, datatype))
        case "long_value":
            return float(_signed(metric.long_value, datatype))
        case "float_value":
            return metric.float_value
        case "double_value":
            return metric.double_value
        case "boolean_value":
            return float(metric.boolean_value)
        case _:
            return None


def is_whole(metric: SparkplugMetric) -> bool:
    """Whether the value cannot be understood without a datatype."""
    return metric.HasField("int_value") or metric.HasField("long_value")


def _is_good(metric: SparkplugMetric) -> bool:
    if not metric.HasField("properties"):
        return True
    for key, value in zip(metric.properties.keys, metric.properties.values, strict=False):
        if key == b"Quality":
            return (value.long_value if value.HasField("long_value") else value.int_value) == _GOOD
    return True


def _signed(value: int, datatype: int) -> int:
    bits = _BITS_OF_SIGNED.get(datatype)
    if bits is None:
        return value
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
