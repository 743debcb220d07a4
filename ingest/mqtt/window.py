"""How much may be in flight: the bound of a source between what it has read and what it may acknowledge.

Policy when full: reading stops, and the broker queues. It goes on below half, so that it does not stop and go with
every batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runtime.metrics import Counter, Gauge

_MESSAGES: Final = Gauge("drover_ingest_mqtt_in_flight_messages", "MQTT messages read and not yet durable.")
_BYTES: Final = Gauge("drover_ingest_mqtt_in_flight_bytes", "Their bytes.")
_PAUSES: Final = Counter("drover_ingest_mqtt_pauses", "How often reading from a broker paused for too much in flight.")


class Window:
    """Counts messages and bytes in flight of one source, over all its connections.

    `is_full` from a high-water mark on until both are below half of theirs; then `on_room` is called.
    """

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages: Final = max_messages
        self._max_bytes: Final = max_bytes
        self.messages = 0
        self.bytes = 0
        self.is_full = False
        self.on_room: Callable[[], None] | None = None

    def enter(self, messages: int, size: int) -> None:
        """So much is in flight from now on."""
        self.messages += messages
        self.bytes += size
        _MESSAGES.inc(messages)
        _BYTES.inc(size)
        if not self.is_full and (self.messages >= self._max_messages or self.bytes >= self._max_bytes):
            self.is_full = True
            _PAUSES.inc()

    def leave(self, messages: int, size: int) -> None:
        """So much is durable, or will never be."""
        self.messages -= messages
        self.bytes -= size
        _MESSAGES.dec(messages)
        _BYTES.dec(size)
        if self.is_full and self.messages * 2 < self._max_messages and self.bytes * 2 < self._max_bytes:
            self.is_full = False
            if self.on_room is not None:
                self.on_room()
