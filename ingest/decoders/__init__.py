"""Decoders by name: payloads in, readings or a reason out.

The native kinds are decoded in bulk by `native_protobuf.py`. Every other decoder is one function in a file of its own,
which translates one payload into the native vocabulary: `docs/adding-a-decoder.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.decoders import native_json, owntracks
from ingest.decoders.native_protobuf import PayloadKind
from ingest.reasons import Rejection

Decode = Callable[[str, bytes, int], ReadingBatch | Rejection]
"""`decode(topic, payload, received_at_us)`: readings, or why there are none. Never raises, whatever the bytes."""

NATIVE: Final[dict[str, PayloadKind]] = {kind.name.lower(): kind for kind in PayloadKind}
"""By the last level of their topic. Their numbers are those that `native_protobuf.decode_bulk` is told."""

FOREIGN: Final[dict[str, Decode]] = {
    "json": native_json.decode,
    "owntracks": owntracks.decode,
}
"""One line a format. `TopicRule.decoder` names one of these, or a native kind for native payloads on other topics."""

FIRST_FOREIGN: Final = max(PayloadKind) + 1

NUMBERS: Final[dict[str, int]] = {
    **NATIVE,
    **{name: FIRST_FOREIGN + index for index, name in enumerate(FOREIGN)},
}
"""The small number that topic tables keep instead of the name."""

BY_INDEX: Final[tuple[Decode, ...]] = tuple(FOREIGN.values())
"""The foreign decoder of a number, less `FIRST_FOREIGN`."""
