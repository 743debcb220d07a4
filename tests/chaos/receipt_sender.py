"""An MQTT device that does not take the broker's word: it asks for receipts, and sends again what got none.

So it loses nothing, whatever becomes of the broker.
"""

from __future__ import annotations

import asyncio
from typing import Final

from drover.telemetry.v1.receipt_pb2 import Receipt
from tests.chaos.mqtt_sender import PUBACK, MqttSender, packet, read_packet, text

_PUBLISH: Final = 0x30
_SUBACK: Final = 0x90


class ReceiptSender(MqttSender):
    """As its parent, but `run` ends when all messages have their receipts."""

    answer_s = 3.0

    def encode(self, number: int) -> bytes:
        """With the number of the message as its id."""
        batch = self.messages[number].encode()
        batch.batch_id = number
        return batch.SerializeToString()

    async def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Subscribes to the receipts of all its devices."""
        writer.write(packet(0x82, b"\x00\x01\x00" + text(f"drover/v1/{self.tenant}/+/ack".encode()) + b"\x01"))
        first, body = await read_packet(reader)
        assert first == _SUBACK
        assert body[-1] == 1, "not granted at QoS 1"

    def hear(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Takes the broker's acknowledgements for what they are, and receipts for receipts."""
        if first == PUBACK:
            return self.hear_acknowledgement(body)
        assert first & 0xF0 == _PUBLISH, f"packet {first:#x}"
        at = 2 + int.from_bytes(body[:2], "big")
        if first & 0x06:
            writer.write(packet(PUBACK, body[at : at + 2]))
            at += 2
        receipt = Receipt.FromString(body[at + 1 + body[at] :])  # properties are short
        assert receipt.accepted == self.messages[receipt.batch_id].size
        assert not receipt.rejections
        self.settled.add(receipt.batch_id)
        return True
