"""NMEA 0183 as receivers log it: one sentence a line, `#` for remarks. The file does not say whose it is.

Lines are given to the decoder an epoch at a time: up to the next line that begins another instant. One row is one fix;
what is no sentence of a fix is passed over, as in the decoder, and broken sentences are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ingest.decoders.nmea import NmeaDecoder
from ingest.decoders.nmea_epoch import BadFieldError, time_of
from ingest.decoders.nmea_sentence import Broken, sentences
from ingest.reasons import Reason, Rejection
from ingest.replay_formats.row import NAMELESS, Row, Skipped

# Longer than a night's worth of sentences without a time: no epoch is, so it is noise.
_MAX_LINES: Final = 1000


def read(lines: Iterable[str]) -> Iterator[Row | Skipped]:
    """One row a fix."""
    decoder = NmeaDecoder()
    first, gathered, instant_us = 1, list[str](), -1
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            continue
        broken = False
        for sentence in sentences(line.encode()):
            if isinstance(sentence, Broken):
                yield Skipped(number, sentence.detail)
                broken = True
                continue
            try:
                time_us = time_of(*sentence)
            except BadFieldError as error:
                yield Skipped(number, str(error))
                broken = True
                continue
            if time_us is not None and time_us != instant_us:
                yield from _row(decoder, gathered, first)
                first, gathered, instant_us = number, [], time_us
        if not broken and len(gathered) < _MAX_LINES:
            gathered.append(line)
    yield from _row(decoder, gathered, first)


def _row(decoder: NmeaDecoder, gathered: list[str], first: int) -> Iterator[Row | Skipped]:
    if not gathered:
        return
    readings = decoder.decode("", "".join(gathered).encode(), 0)
    if not isinstance(readings, Rejection):
        yield Row(NAMELESS, readings.positions[0].observed_at_us, readings)
    elif readings.reason is not Reason.NOT_A_READING:
        yield Skipped(first, f"{readings.reason.text}: {readings.detail}")
