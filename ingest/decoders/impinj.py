"""Impinj R700, R720: events of the Impinj IoT device interface, over MQTT, from webhooks or streams.

Source: Impinj IoT device interface, OpenAPI document, schemas `ReaderEvent` and `TagInventoryEvent`. The reader is the
device, by its topic. Which fields there are, its preset decides:

- `epcHex`, or `epc` in base64 (URL-safe, with or without padding); without either an event is refused, because a TID
  is the chip's number and no EPC;
- `lastSeenTime` is when the tag was read, and `timestamp` when the event was sent; alone, `timestamp` is both;
- `antennaPort` counts from 1; `peakRssiCdbm` is hundredths of dBm.

Events of other types (inventoryStatus, gpiTransition, diagnostic, ...) carry no reading. One bad event spoils those
that came with it: the letter keeps them all as they came.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import Annotated, Final

import msgspec
from msgspec import Meta, field

from drover.telemetry.v1.reading_pb2 import ReadingBatch, TagRead
from ingest.decoders.json_events import AwareTime, Events, time_us
from ingest.decoders.json_refusal import JSON_ERRORS, refusal
from ingest.reasons import Reason, Rejection

_INVENTORY: Final = "tagInventory"
_CENTI: Final = 100


class _Tag(msgspec.Struct):
    epc_base64: str | None = field(name="epc", default=None)
    epc_hex: str | None = field(name="epcHex", default=None)
    antenna: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = field(name="antennaPort", default=None)
    rssi_cdbm: float | None = field(name="peakRssiCdbm", default=None)
    last_seen: AwareTime | None = field(name="lastSeenTime", default=None)


class _Event(msgspec.Struct):
    type: str | None = field(name="eventType", default=None)
    timestamp: AwareTime | None = None
    tag: _Tag | None = field(name="tagInventoryEvent", default=None)


_events: Final = Events(_Event)


def decode(topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:  # noqa: ARG001
    """A tag read for each inventory event."""
    try:
        events = _events.decode(payload)
    except JSON_ERRORS as error:
        return refusal(error)
    if not events:
        return Rejection(Reason.EMPTY, "no events")
    batch = ReadingBatch()
    for event in events:
        if event.type is None and event.tag is None:
            return Rejection(Reason.MISSING_FIELD, "eventType is missing")
        if event.type in {None, _INVENTORY}:
            read = _read(event)
            if isinstance(read, Rejection):
                return read
            batch.tags.append(read)
    if not batch.tags:
        return Rejection(Reason.NOT_A_READING, f"eventType {events[0].type!r}"[:100])
    return batch


def _read(event: _Event) -> TagRead | Rejection:
    if event.tag is None:
        return Rejection(Reason.MISSING_FIELD, "tagInventoryEvent is missing")
    observed_at = event.tag.last_seen or event.timestamp
    if observed_at is None:
        return Rejection(Reason.MISSING_FIELD, "neither lastSeenTime nor timestamp")
    epc = _epc(event.tag)
    if isinstance(epc, Rejection):
        return epc
    rssi_cdbm = event.tag.rssi_cdbm
    sent_at = event.timestamp if event.tag.last_seen is not None else None
    return TagRead(
        observed_at_us=time_us(observed_at),
        epc=epc,
        antenna=event.tag.antenna or 0,
        rssi_dbm=rssi_cdbm / _CENTI if rssi_cdbm is not None and math.isfinite(rssi_cdbm) else None,
        sent_at_us=None if sent_at is None else time_us(sent_at),
    )


def _epc(tag: _Tag) -> bytes | Rejection:
    if tag.epc_hex is not None:
        try:
            return binascii.unhexlify(tag.epc_hex)
        except ValueError:  # binascii.Error is one; so is text beyond ASCII
            return Rejection(Reason.BAD_EPC, f"epcHex {tag.epc_hex[:100]!r} is not hexadecimal")
    if tag.epc_base64 is None:
        return Rejection(Reason.MISSING_FIELD, "neither epc nor epcHex: the reader's preset leaves them out")
    padding = "=" * (-len(tag.epc_base64) % 4)
    try:
        return base64.b64decode(tag.epc_base64 + padding, altchars=b"-_", validate=True)
    except ValueError:
        return Rejection(Reason.BAD_EPC, f"epc {tag.epc_base64[:100]!r} is not base64")
