"""PUBLISH packets of ours on one connection, each with the broker's answer.

aiomqtt's own `publish` forgets the reason code: whether the broker refused, or nobody is subscribed. So its paho client
is asked instead; sending, packet ids and PUBACK stay paho's.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.mqtt.hooks import paho_of

_WINDOW: Final = 256
_LONGEST_EXPIRY_S: Final = 2**32 - 1


class ConnectionLostError(Exception):
    """The connection ended before the broker answered: it may have the message, or not."""


class Publisher:
    """Of an aiomqtt client that has not connected yet. At most `window` messages may wait for their answer."""

    def __init__(self, client: aiomqtt.Client, *, is_version_5: bool) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._paho: Final = paho_of(client)
        self._is_version_5: Final = is_version_5
        self._answers: Final[dict[int, asyncio.Future[int]]] = {}
        self._aiomqtt_connected: Final[Any] = self._paho.on_connect
        self._paho.on_connect = self._connected
        self._paho.on_publish = self._answered  # aiomqtt's serves its own `publish`, which nobody calls
        self.window = _WINDOW
        """How many the broker lets us have under way (MQTT 5.0, 3.2.2.3.3), and no more than we want."""

    def publish(self, topic: str, payload: bytes, qos: int, expiry_s: int | None) -> asyncio.Future[int]:
        """Hands a message to paho, in order with what it sends otherwise. The future has the reason code of PUBACK
        (MQTT 5.0, 3.4.2.1; 0 in 3.1.1, and at QoS 0 as soon as it is written), or raises ConnectionLostError.
        """
        properties = None
        if expiry_s is not None and self._is_version_5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = min(expiry_s, _LONGEST_EXPIRY_S)
        answer: asyncio.Future[int] = self._loop.create_future()
        info = self._paho.publish(topic, payload, qos, properties=properties)
        if info.rc == paho.MQTT_ERR_SUCCESS:
            self._answers[info.mid] = answer
        else:
            answer.set_exception(ConnectionLostError(paho.error_string(info.rc)))
        return answer

    def close(self) -> None:
        """The connection is gone: nothing more is answered."""
        answers = list(self._answers.values())
        self._answers.clear()
        for answer in answers:
            if not answer.done():
                answer.set_exception(ConnectionLostError("the connection ended"))

    def _connected(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Properties | None) -> None:
        self.window = min(_WINDOW, getattr(properties, "ReceiveMaximum", _WINDOW))
        self._aiomqtt_connected(client, userdata, flags, code, properties)

    def _answered(self, _client: Any, _userdata: Any, packet_id: int, code: ReasonCode, _properties: Any) -> None:
        answer = self._answers.pop(packet_id, None)
        if answer is not None and not answer.done():
            answer.set_result(code.value)
