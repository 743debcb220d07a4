"""What devices say of commands, on `.../cmd/ack`: a sink for a source of its own, beside that of the readings.

An answer is acknowledged to the broker when it is in the database. One that nobody can read, or to a command that the
device was never sent, is counted and passed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
import structlog
from google.protobuf.message import DecodeError

from drover.command.v1.command_pb2 import COMMAND_RESULT_DONE, COMMAND_RESULT_FAILED, CommandAnswer
from ingest.devices.commands import Answer, Commands
from ingest.devices.device_name import is_device_id, is_tenant
from ingest.messages import Messages, payload, topic
from ingest.reasons import Rejection
from runtime.metrics import Counter
from runtime.problems import Unavailable

log = structlog.get_logger()

_ANSWERS: Final = Counter("drover_ingest_command_answers", "Devices' answers to commands, by what they were.", ["what"])

FILTERS: Final = ("drover/v1/+/+/cmd/ack", "drover/v1/+/+/cmd/ack/json")
_LEVELS: Final = 6
_PAUSE_S: Final = 0.5


class _AnswerJson(msgspec.Struct):
    command_id: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    result: Literal["done", "failed"] = "done"
    detail: str = ""


_decode_json: Final = msgspec.json.Decoder(_AnswerJson, strict=False).decode


class CommandAnswers:
    """A sink for MQTT messages of `FILTERS`."""

    def __init__(self, commands: Commands) -> None:
        self._commands: Final = commands
        self._closing: Final = asyncio.Event()

    def close(self) -> None:
        """Ends waiting for a database that is away."""
        self._closing.set()

    async def accept(self, messages: Messages) -> None:
        """Waits while the database is away. Raises Unavailable when closed meanwhile."""
        await self.accept_and_tell(messages, {})

    async def accept_and_tell(self, messages: Messages, refused: Mapping[int, Rejection]) -> None:
        """As `accept`; `refused` are too large to be answers."""
        read = [
            None if index in refused else parse(topic(messages, index), payload(messages, index))
            for index in range(len(messages.topic_start))
        ]
        answers = [answer for answer in read if answer is not None]
        _ANSWERS.labels("unreadable").inc(len(read) - len(answers))
        if not answers:
            return
        counted = await self._store(answers)
        _ANSWERS.labels("taken").inc(counted)
        _ANSWERS.labels("to_nothing_open").inc(len(answers) - counted)

    async def _store(self, answers: list[Answer]) -> int:
        while True:
            try:
                return await self._commands.answered(answers, time.time_ns() // 1000)
            except Unavailable as error:
                if self._closing.is_set():
                    raise
                log.warning("answers to commands wait", reason=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), _PAUSE_S)


def parse(name: bytes, data: bytes) -> Answer | None:
    """The answer in a message, if there is one."""
    levels = name.decode(errors="replace").split("/")
    if len(levels) < _LEVELS or not is_tenant(levels[2]) or not is_device_id(levels[3]):
        return None
    try:
        if levels[-1] == "json":
            answer = _decode_json(data)
            return Answer(levels[2], levels[3], answer.command_id, answer.result == "done", answer.detail)
        message = CommandAnswer.FromString(data)
    except (msgspec.DecodeError, DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if message.result not in {COMMAND_RESULT_DONE, COMMAND_RESULT_FAILED} or message.command_id >= 2**63:
        return None
    is_done = message.result == COMMAND_RESULT_DONE
    return Answer(levels[2], levels[3], message.command_id, is_done, message.detail)
