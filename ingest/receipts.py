"""Receipts for devices that want one of their own: `.../ack` after the append, to who put a `batch_id` in a batch.

A receipt stands before the broker's acknowledgement on the same connection. So who is killed between append and receipt
has not acknowledged either: the broker sends the batch again, and that brings the receipt. What a receipt costs, only
batches with an id pay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from drover.telemetry.v1.receipt_pb2 import Receipt, ReceiptRejection
from ingest.decoding import Asked, Refusal
from ingest.devices.device_name import DeviceName
from ingest.messages import topic
from ingest.topics.addressing import Addressed
from runtime.metrics import Counter

_RECEIPTS = Counter("drover_ingest_receipts", "Receipts for batches that asked for one.")


class Note(NamedTuple):
    """A receipt, and the topic it goes to."""

    topic: str
    payload: bytes


def receipts(
    addressed: Addressed, asked: Sequence[Asked], refusals: Sequence[Refusal], name: Callable[[int], DeviceName]
) -> list[Note]:
    """One for each batch that asked, in order of arrival. `name` is that of a device number."""
    if not asked:
        return []
    rejections: dict[int, list[ReceiptRejection]] = {each.message: [] for each in asked}
    for refusal in refusals:
        if refusal.message in rejections:
            told = ReceiptRejection(reason=refusal.reason.slug, count=refusal.readings)
            rejections[refusal.message].append(told)
    _RECEIPTS.inc(len(asked))
    notes: list[Note] = []
    for message, batch_id, accepted in sorted(asked):
        tenant, device_id = name(int(addressed.device[message]))
        receipt = Receipt(batch_id=batch_id, accepted=accepted, rejections=rejections[message])
        own = f"drover/v1/{tenant}/{device_id}/ack"
        if topic(addressed.messages, message).endswith(b"/json"):
            notes.append(Note(f"{own}/json", _as_json(receipt)))
        else:
            notes.append(Note(own, receipt.SerializeToString()))
    return notes


def _as_json(receipt: Receipt) -> bytes:
    return json.dumps(
        {
            "batch_id": receipt.batch_id,
            "accepted": receipt.accepted,
            "rejections": [{"reason": each.reason, "count": each.count} for each in receipt.rejections],
        }
    ).encode()
