"""NMEA 0183: whole sentences, one or many a payload.

The sentences of one instant make one fix: neighbours with the same time of day, and those without a time behind them
(`nmea_epoch.py` says what each adds). A payload gives one fix for each instant that it names a place for, and a fix
goes out with the payload that names it, because a payload that was acknowledged is gone. Recommended is therefore one
payload an epoch. Where a device sends sentence by sentence, the last instant is remembered, so that each fix of it has
all that was known until then: RMC gives a fix with speed and course, and GGA, behind it, a second one of the same time
that has them too, with height and satellites.

Dates: RMC and ZDA have one. An instant without takes that of its neighbours, or of the last date that this topic had,
if that was received within half a day: then the day is certain, midnight or not.

Two things are remembered of a topic, and both may be lost: without the date, a payload of nothing but GGA is refused as
`missing_field`, kept, and can be replayed once the date is known again; without the last instant, a fix has less.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, NamedTuple

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders.lru_table import LruTable
from ingest.decoders.nmea_epoch import DAY_US, HAS_PLACE, BadFieldError, Epoch, take, time_of
from ingest.decoders.nmea_sentence import Broken, sentences
from ingest.decoders.signature import Decode
from ingest.reasons import Reason, Rejection
from ingest.settings import TopicRule
from runtime.metrics import Counter

_REFUSED: Final = Counter(
    "drover_ingest_nmea_sentences_refused", "Broken NMEA sentences in payloads whose other sentences were taken."
)

MAX_SENTENCES: Final = 50_000
"""Sentences of one payload: three times what a megabyte of sound ones has. What more costs would be felt by others."""

MAX_TOPICS: Final = 65_536
"""Topics remembered; about half a kilobyte each."""


class _Memory(NamedTuple):
    """Of one topic. The anchor is an instant whose date is certain, and when it was received; both in microseconds."""

    last: Epoch | None
    anchor_us: int | None
    anchored_at_us: int


class _Heard(NamedTuple):
    """What a payload says: its instants with a place, the last instant, and what was broken."""

    placed: list[Epoch]
    last: Epoch | None
    broken: list[str]


def decoder(rule: TopicRule) -> Decode:  # noqa: ARG001
    """A decoder with a memory of its own."""
    return NmeaDecoder().decode


class NmeaDecoder:
    """Remembers the last instant and the date of each topic."""

    def __init__(self, max_topics: int = MAX_TOPICS) -> None:
        self._table: Final[LruTable[_Memory]] = LruTable(max_topics)

    def decode(self, topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:
        """One position for each instant that the payload names a place for."""
        if payload.count(b"$") + payload.count(b"!") > MAX_SENTENCES:
            return Rejection(Reason.TOO_LARGE, f"more than {MAX_SENTENCES} sentences")
        memory = self._table.get(topic) or _Memory(None, None, received_at_us)
        heard = _listen(payload, memory.last)
        _date(heard, memory, received_at_us)
        # A replay is older than what is known: it changes nothing.
        if heard.last is not None and received_at_us >= memory.anchored_at_us:
            self._table.put(topic, _remembered(heard, memory, received_at_us))
        positions = [position for epoch in heard.placed if (position := epoch.position()) is not None]
        if positions:
            _REFUSED.inc(len(heard.broken))
            return ReadingBatch(positions=positions)
        if heard.broken:
            return Rejection(Reason.MALFORMED, heard.broken[0])
        if any(epoch.latitude_deg is not None and epoch.day is None for epoch in heard.placed):
            return Rejection(Reason.MISSING_FIELD, "no date: neither RMC nor ZDA of this topic came lately")
        return Rejection(Reason.NOT_A_READING, "no sentence with a place")


def _listen(payload: bytes, last: Epoch | None) -> _Heard:
    placed: list[Epoch] = []
    broken: list[str] = []
    current = None if last is None else dataclasses.replace(last)
    found = False
    for sentence in sentences(payload):
        found = True
        if isinstance(sentence, Broken):
            broken.append(sentence.detail)
            continue
        formatter, fields = sentence
        try:
            time_us = time_of(formatter, fields)
            if time_us is not None and (current is None or current.time_us != time_us):
                epoch = Epoch(time_us)
                take(epoch, formatter, fields)
                current = epoch
            elif current is not None and (time_us is not None or formatter not in HAS_PLACE):
                take(current, formatter, fields)
        except BadFieldError as error:
            broken.append(f"{formatter}: {error}")
            continue
        if time_us is not None and formatter in HAS_PLACE and current is not None and not _is_last(placed, current):
            placed.append(current)
    if not found:
        broken.append("no sentence")
    return _Heard(placed, current, broken)


def _is_last(epochs: Sequence[Epoch], epoch: Epoch) -> bool:
    return bool(epochs) and epochs[-1] is epoch


def _date(heard: _Heard, memory: _Memory, received_at_us: int) -> None:
    """Gives a day to the instants that have none, as far as it is certain."""
    epochs = [*heard.placed, *([] if heard.last is None or _is_last(heard.placed, heard.last) else [heard.last])]
    near_us = None
    elapsed_us = received_at_us - memory.anchored_at_us
    if memory.anchor_us is not None and abs(elapsed_us) < DAY_US // 2:
        near_us = memory.anchor_us + elapsed_us
    for ordered in (epochs, epochs[::-1]):
        for epoch in ordered:
            if epoch.day is None and near_us is not None:
                epoch.day = (near_us - epoch.time_us + DAY_US // 2) // DAY_US
                epoch.has_sure_day = True
            if epoch.has_sure_day and epoch.observed_at_us is not None:
                near_us = epoch.observed_at_us
        near_us = None


def _remembered(heard: _Heard, memory: _Memory, received_at_us: int) -> _Memory:
    sure = [epoch.observed_at_us for epoch in (*heard.placed, heard.last) if epoch is not None and epoch.has_sure_day]
    if sure and sure[-1] is not None:
        return _Memory(heard.last, sure[-1], received_at_us)
    return _Memory(heard.last, memory.anchor_us, memory.anchored_at_us)
