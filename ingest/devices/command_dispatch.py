"""Takes commands from the table to the brokers: the oldest of each device first, again where nobody was there."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from drover.command.v1.command_pb2 import Command as CommandMessage
from ingest.devices.commands import Command, Commands, Due
from ingest.mqtt.outbox import NotConnectedError, OutboxFullError, PublishRefusedError
from runtime.metrics import Counter
from runtime.problems import Unavailable

log = structlog.get_logger()

_SENT: Final = Counter("drover_ingest_commands_sent", "Commands that a broker took for their device.")
_UNHEARD: Final = Counter("drover_ingest_commands_unheard", "Times that nobody was there to take a command.")

_AT_ONCE: Final = 100
_LOOK_EVERY_S: Final = 1.0


class Publishes(Protocol):
    """A connection to a broker: `MqttSource`."""

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, expiry_s: int | None = None) -> bool:
        """Whether somebody is subscribed, as far as the broker says. Raises what `Outbox.send` does."""


class CommandDispatch:
    """Sends what is due, by all brokers: which of them a device is at is not known. `run` until cancelled."""

    def __init__(self, commands: Commands, brokers: Sequence[Publishes]) -> None:
        self._commands: Final = commands
        self._brokers: Final = brokers
        self.wrong: str | None = None
        """What keeps commands from going out now, in one line."""

    async def run(self) -> None:
        """Raises what is a bug."""
        while True:
            self._commands.arrived.clear()
            try:
                while await self._send_due():
                    pass
                await self._commands.expire(_now_us())
            except Unavailable as error:
                self.wrong = f"commands wait: {error}"
                log.warning("commands wait", reason=str(error))
            else:
                self.wrong = None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._commands.arrived.wait(), _LOOK_EVERY_S)

    async def _send_due(self) -> bool:
        """Whether there may be more."""
        if not self._brokers:
            return False
        due = await self._commands.take_due(_now_us(), _AT_ONCE)
        heard = await asyncio.gather(*(self._send(each) for each in due))
        for each, is_heard in zip(due, heard, strict=True):
            if is_heard:
                _SENT.inc()
                await self._commands.sent(each.command.command_id, _now_us())
            else:
                _UNHEARD.inc()
                await self._commands.unheard(each, _now_us())
        return any(heard)

    async def _send(self, due: Due) -> bool:
        command = due.command
        left_s = -(-(command.expires_at_us - _now_us()) // 1_000_000)
        if left_s <= 0:
            return False  # `expire` ends it
        own = f"drover/v1/{due.tenant}/{due.device_id}/cmd"
        forms = ((own, _as_protobuf(command)), (f"{own}/json", _as_json(command)))
        told = [_publish(broker, topic, data, left_s) for broker in self._brokers for topic, data in forms]
        return any(await asyncio.gather(*told))


async def _publish(broker: Publishes, topic: str, payload: bytes, expiry_s: int) -> bool:
    try:
        return await broker.publish(topic, payload, expiry_s=expiry_s)
    except PublishRefusedError as error:
        log.warning("a broker refuses commands", error=str(error))
    except (NotConnectedError, OutboxFullError):
        pass
    return False


def _now_us() -> int:
    return time.time_ns() // 1000


def _as_protobuf(command: Command) -> bytes:
    return CommandMessage(
        command_id=command.command_id,
        name=command.name,
        parameters_json=command.parameters_json,
        payload=command.payload,
        expires_at_us=command.expires_at_us,
    ).SerializeToString()


def _as_json(command: Command) -> bytes:
    return json.dumps(
        {
            "command_id": command.command_id,
            "name": command.name,
            "parameters": json.loads(command.parameters_json) if command.parameters_json else None,
            "payload_base64": base64.b64encode(command.payload).decode(),
            "expires_at_us": command.expires_at_us,
        }
    ).encode()
