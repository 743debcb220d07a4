"""Decoders by name: payloads in, readings or a reason out.

The native kinds are decoded in bulk by `native_protobuf.py`. Every other decoder translates one payload into the native
vocabulary, in a file of its own: `docs/adding-a-decoder.md`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final, NamedTuple

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders import (
    chirpstack,
    impinj,
    json_fields,
    native_json,
    nmea,
    owntracks,
    senml,
    sparkplug,
    teltonika_codec,
    teltonika_json,
    tts,
    zebra,
)
from ingest.decoders.native_protobuf import PayloadKind
from ingest.decoders.signature import Decode, MakeDecoder, MakeSpeaker, Publish
from ingest.reasons import Rejection
from ingest.settings import TopicRule
from runtime.problems import FatalError

NATIVE: Final[dict[str, PayloadKind]] = {kind.name.lower(): kind for kind in PayloadKind}
"""By the last level of their topic. Their numbers are those that `native_protobuf.decode_bulk` is told."""

PLAIN: Final[dict[str, Decode]] = {
    "impinj": impinj.decode,
    "json": native_json.decode,
    "owntracks": owntracks.decode,
    "senml": senml.decode,
    "teltonika_codec": teltonika_codec.decode,
    "teltonika_json": teltonika_json.decode,
    "zebra": zebra.decode,
}
"""One line a format that needs no options and remembers nothing: the same function for every rule."""

MADE: Final[dict[str, MakeDecoder]] = {
    "chirpstack": chirpstack.decoder,
    "json_fields": json_fields.decoder,
    "nmea": nmea.decoder,
    "tts": tts.decoder,
}
"""One line a format that has options, or remembers: each rule gets a decoder of its own."""

SPEAKING: Final[dict[str, MakeSpeaker]] = {
    "sparkplug": sparkplug.decoder,
}
"""As MADE, for a format that also asks devices for something, and remembers across topics."""

WITH_FIELDS: Final = frozenset({"chirpstack", "json_fields", "sparkplug", "tts"})
"""Those that take the option `fields`."""

FIRST_FOREIGN: Final = max(PayloadKind) + 1

NUMBERS: Final[dict[str, int]] = {
    **NATIVE,
    **{name: FIRST_FOREIGN + index for index, name in enumerate(PLAIN)},
}
"""The small number that topic tables keep instead of the name. Those that are made for a rule come behind."""

# Topic tables keep the number in a byte.
_MAX_NUMBER: Final = 255


class NumberedRule(NamedTuple):
    """A topic rule, and the number of its decoder."""

    rule: TopicRule
    number: int


def _to_nobody(_topic: str, _payload: bytes) -> None:
    """Where there is no broker."""


class Decoders:
    """The foreign decoders of one process, those that rules had made for them included.

    `TopicRule.decoder` names one of PLAIN, MADE or SPEAKING, or a native kind for native payloads on other topics.
    `publish` is for those that speak. Raises FatalError for a decoder that does not exist, or for options that it does
    not take.
    """

    def __init__(self, rules: Sequence[TopicRule] = (), publish: Publish = _to_nobody) -> None:
        self._publish: Final = publish
        self._decoders: Final[list[Decode]] = list(PLAIN.values())
        self._across_topics: Final[set[int]] = set()
        self.rules: Final = tuple(NumberedRule(rule, self._number(rule)) for rule in rules)
        """In the order of configuration."""
        self.across_topics: Final = frozenset(self._across_topics)
        """Numbers of those whose memory is of several topics: their messages must come in order, whatever the topic."""

    def decode(self, number: int, topic: str, payload: bytes, received_at_us: int) -> ReadingBatch | Rejection:
        """One foreign payload, by the decoder of that number. Never raises, whatever the bytes."""
        return self._decoders[number - FIRST_FOREIGN](topic, payload, received_at_us)

    def _number(self, rule: TopicRule) -> int:
        if rule.fields and rule.decoder not in WITH_FIELDS:
            takers = ", ".join(sorted(WITH_FIELDS))
            raise FatalError(f"topic rule {rule.filter}: {rule.decoder} takes no fields; those that do: {takers}")
        if rule.decoder in NUMBERS:
            return NUMBERS[rule.decoder]
        if rule.decoder in MADE:
            decode = MADE[rule.decoder](rule)
        elif rule.decoder in SPEAKING:
            decode = SPEAKING[rule.decoder](rule, self._publish)
        else:
            known = [*NUMBERS, *MADE, *SPEAKING]
            near = difflib.get_close_matches(rule.decoder, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise FatalError(f"topic rule {rule.filter}: unknown decoder {rule.decoder!r}; {hint}")
        self._decoders.append(decode)
        number = FIRST_FOREIGN + len(self._decoders) - 1
        if number > _MAX_NUMBER:
            raise FatalError(f"topic rule {rule.filter}: too many rules whose decoder is made for them")
        if rule.decoder in SPEAKING:
            self._across_topics.add(number)
        return number
