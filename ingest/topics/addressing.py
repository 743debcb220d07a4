"""Whose messages they are, and how to read them: by the table of topics seen, or once a topic by rule and register.

The register may have to ask a database. Messages of topics that are known do not wait for that; those that do wait
keep their order: a topic enters the table only with the last of its messages that waited. Some decoders remember across
topics (births on one, data on another): while a message of such a decoder waits, all of that decoder wait behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ingest.devices.registry import Registry
from ingest.messages import Messages, topic
from ingest.reasons import Reason, Rejection
from ingest.topics.rules import Route, TopicRules
from ingest.topics.table import UNKNOWN, TopicTable
from tracking_core.columns import U8, U32

ELSEWHERE: Final = 255
"""In place of a Reason: the message is settled with another part of its messages."""


class Addressed(NamedTuple):
    """Messages, and for each its device, its decoder, and a Reason number where it has none of these."""

    messages: Messages
    device: U32
    decoder: U8
    reason: U8
    details: dict[int, Rejection]
    """What there is to say of a refused message, by its index."""


class Strangers(NamedTuple):
    """The part of messages whose topics are not in the table; the indices of each topic."""

    part: Addressed
    indices: dict[bytes, list[int]]
    held: frozenset[int]
    """Decoders that remember across topics, and have messages here."""


class Addresses:
    """Asks and fills the table of topics."""

    def __init__(self, rules: TopicRules, registry: Registry, table: TopicTable) -> None:
        self._rules: Final = rules
        self._registry: Final = registry
        self._table: Final = table
        self._waiting: Final[Counter[bytes]] = Counter()
        self._held: Final[Counter[int]] = Counter()

    def look_up(self, messages: Messages, refused: Mapping[int, Rejection]) -> tuple[Addressed, Strangers | None]:
        """What is known at once, and the rest, which must be given to `learn`. `refused` is not asked about."""
        resolved = self._table.resolve(messages)
        known = Addressed(messages, resolved.device, resolved.decoder, np.zeros(len(resolved.entry), np.uint8), {})
        is_unknown = resolved.entry == UNKNOWN
        if refused:
            is_unknown[list(refused)] = False
            for index, rejection in refused.items():
                known.reason[index] = rejection.reason
                known.details[index] = rejection
        held = self._held_by(messages, is_unknown)
        if held:
            is_unknown |= (
                np.isin(resolved.decoder, list(held)) & (resolved.entry != UNKNOWN) & (known.reason == Reason.OK)
            )
        if not is_unknown.any():
            return known, None
        known.reason[is_unknown] = ELSEWHERE
        reason = np.where(is_unknown, np.uint8(Reason.OK), np.uint8(ELSEWHERE))
        indices: dict[bytes, list[int]] = {}
        for index in np.flatnonzero(is_unknown).tolist():
            indices.setdefault(topic(messages, index), []).append(index)
        self._waiting.update(indices.keys())
        self._held.update(held)
        part = Addressed(messages, resolved.device.copy(), resolved.decoder.copy(), reason, {})
        return known, Strangers(part, indices, held)

    async def learn(self, strangers: Strangers) -> Addressed:
        """The addresses of strangers. One call at a time, in the order of `look_up`; settle them without waiting."""
        part, indices, held = strangers
        try:
            routes = {text: self._rules.match(text) for text in indices}
            names = {route.name for route in routes.values() if isinstance(route, Route)}
            numbers = await self._registry.resolve(names)
        finally:
            for text in indices:
                self._waiting[text] -= 1
                if not self._waiting[text]:
                    del self._waiting[text]
            self._held.subtract(held)
        for text, route in routes.items():
            if isinstance(route, Rejection):
                _refuse(part, indices[text], route)
                continue
            part.decoder[indices[text]] = route.decoder
            if route.name in numbers:
                part.device[indices[text]] = numbers[route.name]
                if text not in self._waiting:
                    self._table.add(text, numbers[route.name], route.decoder)
            else:
                _refuse(part, indices[text], Rejection(Reason.UNKNOWN_DEVICE, "/".join(route.name)))
        return part

    def _held_by(self, messages: Messages, is_unknown: npt.NDArray[np.bool_]) -> frozenset[int]:
        """The decoders that remember across topics, and whose messages must wait: for some before, or of these."""
        across = self._rules.decoders.across_topics
        if not across:
            return frozenset()
        routes = (self._rules.match(topic(messages, index)) for index in np.flatnonzero(is_unknown).tolist())
        new = {route.decoder for route in routes if isinstance(route, Route)}
        return frozenset(number for number in across if number in new or self._held[number])


def _refuse(part: Addressed, indices: list[int], rejection: Rejection) -> None:
    part.reason[indices] = rejection.reason
    part.details.update(dict.fromkeys(indices, rejection))
