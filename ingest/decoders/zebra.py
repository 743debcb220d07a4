"""Zebra FX and ATR readers: tag data events of the Zebra IoT Connector, over MQTT.

Source: Zebra IoT Connector, "RAW MQTT Payload Schemas", tag data events, and "Configure TagStorage". The reader is the
device, by its topic. `type` is the operating mode that read the tag; health and management events and directions, which
have types of their own, carry no reading. Of `data` only `eventNum` is certain:

- `idHex` is the EPC; an event without it is refused;
- `antenna` counts from 1; `peakRssi` is dBm, the strongest since the last report;
- the time is that of the event, `timestamp`.

`eventNum` counts from the start of an inventory, so it begins anew with each: it is no running number of the reader.
"""

from __future__ import annotations

import binascii
import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta, field

from drover.telemetry.v1.reading_pb2 import ReadingBatch, TagRead
from ingest.decoders.json_events import AwareTime, Events, time_us
from ingest.decoders.json_refusal import JSON_ERRORS, refusal
from ingest.reasons import Reason, Rejection

_MODES: Final = frozenset({"SIMPLE", "INVENTORY", "PORTAL", "CONVEYOR", "CUSTOM"})


class _Data(msgspec.Struct):
    id_hex: str | None = field(name="idHex", default=None)
    antenna: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    rssi_dbm: float | None = field(name="peakRssi", default=None)


class _Kind(msgspec.Struct):
    type: str | None = None


class _Event(_Kind):
    timestamp: AwareTime | None = None
    data: _Data | None = None


_kinds: Final = Events(_Kind)
_events: Final = Events(_Event)


def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
    """A tag read for each event of an operating mode."""
    try:
        events = _events.decode(payload)
    except JSON_ERRORS as error:
        return _not_understood(payload, refusal(error))
    if not events:
        return Rejection(Reason.EMPTY, "no events")
    batch = ReadingBatch()
    for event in events:
        if event.type is None and event.data is None:
            return Rejection(Reason.MISSING_FIELD, "type and data are missing")
        if event.type is None or event.type in _MODES:
            read = _read(event)
            if isinstance(read, Rejection):
                return read
            batch.tags.append(read)
    return batch if batch.tags else _no_reading(events[0])


def _read(event: _Event) -> TagRead | Rejection:
    data = event.data
    if data is None or data.id_hex is None:
        return Rejection(Reason.MISSING_FIELD, "data.idHex is missing: the reader is set not to send it")
    if event.timestamp is None:
        return Rejection(Reason.MISSING_FIELD, "timestamp is missing")
    try:
        epc = binascii.unhexlify(data.id_hex)
    except ValueError:  # binascii.Error is one; so is text beyond ASCII
        return Rejection(Reason.BAD_EPC, f"idHex {data.id_hex[:100]!r} is not hexadecimal")
    return TagRead(
        observed_at_us=time_us(event.timestamp),
        epc=epc,
        antenna=data.antenna or 0,
        rssi_dbm=data.rssi_dbm if data.rssi_dbm is not None and math.isfinite(data.rssi_dbm) else None,
    )


def _no_reading(event: _Kind) -> Rejection:
    return Rejection(Reason.NOT_A_READING, f"type {event.type!r}"[:100])


def _not_understood(payload: bytes, why: Rejection) -> Rejection:
    """A message whose fields are not those of tag data; of other types, they need not be."""
    try:
        kinds = _kinds.decode(payload)
    except JSON_ERRORS:
        return why
    if kinds and all(kind.type is not None and kind.type not in _MODES for kind in kinds):
        return _no_reading(kinds[0])
    return why
