"""Whose messages they are, and how to read them: by the table of topics seen, or once a topic by rule and register."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from ingest.messages import Messages, topic
from ingest.reasons import Reason, Rejection
from ingest.registry import Registry
from ingest.topic_rules import Route, TopicRules
from ingest.topic_table import UNKNOWN, TopicTable
from tracking_core.columns import U8, U32


class Addressed(NamedTuple):
    """Messages, and for each its device, its decoder, and a Reason number where it has none of these."""

    messages: Messages
    device: U32
    decoder: U8
    reason: U8
    details: dict[int, str]
    """What there is to say of a refused message, by its index."""


class Addresses:
    """Fills and asks the table of topics."""

    def __init__(self, rules: TopicRules, registry: Registry, table: TopicTable) -> None:
        self._rules: Final = rules
        self._registry: Final = registry
        self._table: Final = table

    async def of(self, messages: Messages) -> Addressed:
        """The addresses of messages. Does not wait when all topics were seen before."""
        resolved = self._table.resolve(messages)
        addressed = Addressed(messages, resolved.device, resolved.decoder, np.zeros(len(resolved.entry), np.uint8), {})
        unknown = np.flatnonzero(resolved.entry == UNKNOWN)
        if len(unknown):
            await self._learn(addressed, unknown.tolist())
        return addressed

    async def _learn(self, addressed: Addressed, unknown: list[int]) -> None:
        messages_of: dict[bytes, list[int]] = {}
        for index in unknown:
            messages_of.setdefault(topic(addressed.messages, index), []).append(index)
        routes = {text: self._rules.match(text) for text in messages_of}
        names = {route.name for route in routes.values() if isinstance(route, Route)}
        numbers = await self._registry.resolve(names)
        for text, route in routes.items():
            if isinstance(route, Rejection):
                _refuse(addressed, messages_of[text], route)
            elif route.name not in numbers:
                rejection = Rejection(Reason.UNKNOWN_DEVICE, f"{route.name.tenant}/{route.name.device_id}")
                _refuse(addressed, messages_of[text], rejection)
                addressed.decoder[messages_of[text]] = route.decoder
            else:
                self._table.add(text, numbers[route.name], route.decoder)
                addressed.device[messages_of[text]] = numbers[route.name]
                addressed.decoder[messages_of[text]] = route.decoder


def _refuse(addressed: Addressed, indices: list[int], rejection: Rejection) -> None:
    addressed.reason[indices] = rejection.reason
    addressed.details.update(dict.fromkeys(indices, rejection.detail))
