"""Zebra readers: tag data events, of fixed readers (FX, FXR, ATR) and of sleds (RFD40, RFD90), over MQTT.

Source: Zebra IoT Connector, "RAW MQTT Payload Schemas", tag data events, and "Configure TagStorage"; "RFD40 / RFD90
MQTT API Reference", `dataEVT`. The reader is the device, by its topic. Of a tag's record only `eventNum` is certain:

- a fixed reader sends one tag an event, in `data`: `idHex`, `antenna` from 1, `peakRssi` in dBm. `type` is the
  operating mode; directions, health and management events have types of their own, and carry no reading;
- a sled sends a list, `data.tagData`: `EPCid`, `peakRssi`, `lastSeenTime` in milliseconds; it has one antenna. Bar
  codes (`data.barcodeData`) are no readings;
- a record without `idHex` or `EPCid` is refused. `EPC` is the whole bank of memory, and no EPC;
- the time is the tag's, if it has one, else that of the event, `timestamp`.

`eventNum` counts from the start of an inventory, so it begins anew with each: it is no running number of the reader.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, field

from drover.telemetry.v1.reading_pb2 import ReadingBatch, TagRead
from ingest.decoders.json_events import AwareTime, Events, time_us
from ingest.decoders.json_refusal import JSON_ERRORS, refusal
from ingest.reasons import Reason, Rejection

_MODES: Final = frozenset({"SIMPLE", "INVENTORY", "PORTAL", "CONVEYOR", "CUSTOM"})
_MODES_OF_SLEDS: Final = frozenset(
    {"FAST_READ", "CYCLE_COUNT", "DENSE_READERS", "OPTIMAL_BATTERY", "BALANCED_PERFORMANCE", "ADVANCED"}
)


_Milliseconds = Annotated[int, Meta(ge=0, le=(2**63 - 1) // 1000)]


class _SledTag(msgspec.Struct):
    epc_hex: str | None = field(name="EPCid", default=None)
    rssi_dbm: float | None = field(name="peakRssi", default=None)
    last_seen_ms: _Milliseconds | None = field(name="lastSeenTime", default=None)


class _Data(msgspec.Struct):
    epc_hex: str | None = field(name="idHex", default=None)
    antenna: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    rssi_dbm: float | None = field(name="peakRssi", default=None)
    of_sled: list[_SledTag] | None = field(name="tagData", default=None)


class _Kind(msgspec.Struct):
    type: str | None = None


class _Event(_Kind):
    timestamp: AwareTime | None = None
    data: _Data | None = None


_kinds: Final = Events(_Kind)
_events: Final = Events(_Event)


def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
    """A tag read for each tag of each event."""
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
        for tag in _tags(event):
            read = _read(tag, None if event.timestamp is None else time_us(event.timestamp))
            if isinstance(read, Rejection):
                return read
            batch.tags.append(read)
    return batch if batch.tags else _no_reading(events[0])


def _tags(event: _Event) -> Sequence[_Data | _SledTag]:
    data = event.data or _Data()
    if data.of_sled is not None:
        return data.of_sled
    return [data] if event.type is None or event.type in _MODES else []


def _read(tag: _Data | _SledTag, event_us: int | None) -> TagRead | Rejection:
    if tag.epc_hex is None:
        return Rejection(Reason.MISSING_FIELD, "neither idHex nor EPCid: the reader is set not to send it")
    seen_us = tag.last_seen_ms * 1000 if isinstance(tag, _SledTag) and tag.last_seen_ms is not None else None
    observed_at_us = event_us if seen_us is None else seen_us
    if observed_at_us is None:
        return Rejection(Reason.MISSING_FIELD, "timestamp is missing")
    try:
        epc = binascii.unhexlify(tag.epc_hex)
    except ValueError:  # binascii.Error is one; so is text beyond ASCII
        return Rejection(Reason.BAD_EPC, f"{tag.epc_hex[:100]!r} is not hexadecimal")
    return TagRead(
        observed_at_us=observed_at_us,
        epc=epc,
        antenna=(tag.antenna or 0) if isinstance(tag, _Data) else 0,
        rssi_dbm=tag.rssi_dbm if tag.rssi_dbm is not None and math.isfinite(tag.rssi_dbm) else None,
        sent_at_us=None if seen_us is None else event_us,
    )


def _no_reading(event: _Kind) -> Rejection:
    return Rejection(Reason.NOT_A_READING, f"type {event.type!r}"[:100])


def _not_understood(payload: bytes, why: Rejection) -> Rejection:
    """A message whose fields are not those of tag data; of other types, they need not be."""
    try:
        kinds = _kinds.decode(payload)
    except JSON_ERRORS:
        return why
    if kinds and not any(kind.type is None or kind.type in _MODES | _MODES_OF_SLEDS for kind in kinds):
        return _no_reading(kinds[0])
    return why
