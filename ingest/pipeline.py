"""The way of every message: address, decode and admit, then the log for readings and the store for dead letters.

A message counts as taken when both are durable; only then may its source acknowledge it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

from google.protobuf.message import DecodeError

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.admission import OF_ONE_READING, pieces
from ingest.batcher import Batcher
from ingest.dead_letters.store import DeadLetter, DeadLetters, StoredLetter
from ingest.decoders.native_protobuf import PayloadKind
from ingest.decoding import Refusal, decode
from ingest.devices.device_name import DeviceName, batch_topic
from ingest.devices.registry import Registry
from ingest.messages import Messages, Source, from_pairs, topic
from ingest.mqtt.outbox import Outbox
from ingest.reasons import Reason, Rejection
from ingest.receipts import Note, receipts
from ingest.tables import MAX_LETTER_PAYLOAD_BYTES
from ingest.topics.addressing import Addressed, Addresses, Strangers
from ingest.topics.rules import TopicRules
from ingest.topics.table import TopicTable
from runtime.metrics import Counter
from tracking_core.columns import U8, count

_MESSAGES: Final = Counter("drover_ingest_messages", "Messages that came.", ["source"])
_REFUSED_MESSAGES: Final = Counter("drover_ingest_messages_refused", "Messages refused, in part too.", ["reason"])
_REFUSED_READINGS: Final = Counter("drover_ingest_readings_refused", "Readings refused.", ["reason"])


# What may be sound in itself: later, with the device provisioned or a wiser version, it can be taken.
_REPLAYABLE: Final = OF_ONE_READING | {Reason.UNKNOWN_DEVICE}


class Origin(NamedTuple):
    """What a dead letter says of where it came from."""

    tenant: str
    topic: str


class Outcome(NamedTuple):
    """What became of messages."""

    accepted: int
    """Readings in the log."""
    refusals: Sequence[Refusal]


class _Submitted(NamedTuple):
    """Messages on their way, and what to wait for."""

    outcome: Outcome
    appended: asyncio.Future[None]
    stored: asyncio.Task[None] | None
    outbox: Outbox | None
    receipts: Sequence[Note]


class Pipeline:
    """Wires the parts. `accept` may be called any number of times at once."""

    def __init__(
        self,
        rules: TopicRules,
        registry: Registry,
        batcher: Batcher,
        dead_letters: DeadLetters,
        *,
        max_payload_bytes: int = 1024 * 1024,
    ) -> None:
        self._rules: Final = rules
        self._registry: Final = registry
        self._batcher: Final = batcher
        self._dead_letters: Final = dead_letters
        self._max_payload_bytes: Final = max_payload_bytes
        self._addresses: Final = Addresses(rules, registry, TopicTable())
        self._learning: Final = asyncio.Lock()

    @property
    def filters(self) -> tuple[str, ...]:
        """The MQTT filters to subscribe to."""
        return self._rules.filters

    async def accept(self, messages: Messages) -> None:
        """Returns when every message is durable: its readings in the log, what was refused among the dead letters.

        Waits while the log or the database is away, and while too many readings wait. Raises Unavailable only when
        ingest stops before that: then nothing of `messages` may be acknowledged.
        """
        await self._accept(messages, {}, is_replay=False)

    async def accept_and_tell(self, messages: Messages, refused: Mapping[int, Rejection]) -> Outcome:
        """As `accept`, with what to tell the sender. `refused` the source will not let in: messages by index."""
        return await self._accept(messages, refused, is_replay=False)

    async def replay(self, letter: StoredLetter) -> Outcome:
        """Sends a letter's bytes through again, as of when they were received.

        Nothing becomes a new letter when nothing was taken: the old one still stands.
        """
        pair = letter.topic.encode(), letter.payload
        messages = from_pairs([pair], letter.received_at_us, cast("Source", letter.source))
        return await self._accept(messages, {}, is_replay=True)

    async def _accept(self, messages: Messages, refused: Mapping[int, Rejection], *, is_replay: bool) -> Outcome:
        # From here to `_submit` nothing waits, so that readings are queued in the order in which messages came.
        await self._batcher.has_room()
        known, strangers = self._addresses.look_up(messages, refused)
        learning = None
        if strangers is not None:
            learning = asyncio.create_task(self._accept_strangers(strangers, is_replay=is_replay))
        try:
            outcome = await _durable(self._submit(known, is_replay=is_replay))
        except BaseException:
            if learning is not None:
                learning.cancel()
            raise
        _MESSAGES.labels(messages.source).inc(len(messages.topic_start))
        if learning is not None:
            more = await learning
            return Outcome(outcome.accepted + more.accepted, [*outcome.refusals, *more.refusals])
        return outcome

    async def _accept_strangers(self, strangers: Strangers, *, is_replay: bool) -> Outcome:
        async with self._learning:
            submitted = self._submit(await self._addresses.learn(strangers), is_replay=is_replay)
        return await _durable(submitted)

    def _submit(self, addressed: Addressed, *, is_replay: bool) -> _Submitted:
        decoded = decode(addressed, self._rules.decoders, self._max_payload_bytes)
        outcome = Outcome(count(decoded.readings), decoded.refusals)
        appended = self._batcher.submit(decoded.readings)
        for refusal in outcome.refusals:
            _REFUSED_MESSAGES.labels(refusal.reason.slug).inc()
            _REFUSED_READINGS.labels(refusal.reason.slug).inc(refusal.readings)
        letters = [
            letter
            for refusal in outcome.refusals
            if refusal.reason.is_kept and not (is_replay and outcome.accepted == 0)
            for letter in self._letters(addressed, refusal)
        ]
        stored = asyncio.create_task(self._dead_letters.put(letters)) if letters else None
        notes = receipts(addressed, decoded.asked, decoded.refusals, self._name)
        return _Submitted(outcome, appended, stored, addressed.messages.outbox, notes)

    def _name(self, number: int) -> DeviceName:
        return self._registry.device(number).name

    def _letters(self, addressed: Addressed, refusal: Refusal) -> list[DeadLetter]:
        messages, message = addressed.messages, refusal.message
        name = topic(messages, message)
        origin = Origin(self._rules.tenant_of(name) or "", name.decode(errors="backslashreplace"))
        start, end = int(messages.payload_start[message]), int(messages.payload_end[message])
        batch = refusal.part
        if batch is not None:
            # What was translated or taken apart is a native batch now, whatever it came as.
            device = self._registry.device(int(addressed.device[message])).name
            origin = Origin(device.tenant, batch_topic(device))
        elif refusal.reason in _REPLAYABLE and addressed.decoder[message] == PayloadKind.BATCH:
            batch = self._too_long_for_one(messages.buffer[start:end])
        if batch is None:
            kept = messages.buffer[start : min(end, start + MAX_LETTER_PAYLOAD_BYTES)].tobytes()
            return [_letter(messages, refusal, origin, kept, refusal.payload_bytes or end - start)]
        parts = [piece.SerializeToString() for piece in pieces(batch, MAX_LETTER_PAYLOAD_BYTES)]
        return [_letter(messages, refusal, origin, part, len(part)) for part in parts]

    @staticmethod
    def _too_long_for_one(data: U8) -> ReadingBatch | None:
        """A batch that can be replayed later, if it would not fit one letter: cut, it would be lost."""
        if len(data) <= MAX_LETTER_PAYLOAD_BYTES:
            return None
        try:
            return ReadingBatch.FromString(data.tobytes())
        except DecodeError:
            return None


async def _durable(submitted: _Submitted) -> Outcome:
    try:
        await submitted.appended
    except BaseException:
        if submitted.stored is not None:
            submitted.stored.cancel()
        raise
    if submitted.stored is not None:
        await submitted.stored
    if submitted.outbox is not None:
        for note in submitted.receipts:
            submitted.outbox.put(note.topic, note.payload)
    return submitted.outcome


def _letter(messages: Messages, refusal: Refusal, origin: Origin, kept: bytes, payload_bytes: int) -> DeadLetter:
    detail = refusal.detail or refusal.reason.text
    return DeadLetter(
        origin.tenant,
        messages.source,
        origin.topic,
        refusal.reason,
        detail,
        kept,
        payload_bytes,
        messages.received_at_us,
    )
