"""What the clocks on walls show: the offsets from UTC of each time zone, as a table, from 2000 to 2100.

From the package `tzdata` alone, never from the machine: so one locked version of Drover gives one answer everywhere.
"""

from __future__ import annotations

import functools
import importlib.resources
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(days=1)
_LONG_AGO_US: Final = -(2**62)


@functools.cache
def zone_names() -> frozenset[str]:
    """The names of all zones, as IANA has them."""
    return frozenset((importlib.resources.files("tzdata") / "zones").read_text("utf-8").split())


@functools.lru_cache(maxsize=1024)
def offset_changes(name: str) -> I64:
    """Int64 (n, 2): since when (UTC, us) which offset (us) holds; the first row holds since ever, the last for ever.

    Found by asking once a day and halving what lies between: no zone has changed twice in a day since 2000. Takes 40
    ms. KeyError for a name that is none.
    """
    if name not in zone_names():
        raise KeyError(name)
    with (importlib.resources.files("tzdata.zoneinfo").joinpath(*name.split("/"))).open("rb") as file:
        zone = ZoneInfo.from_file(file, key=name)
    known = _offset(zone, _FIRST)
    rows = [(_LONG_AGO_US, _microseconds(known))]
    at = _FIRST
    while at < _LAST:
        following = at + _STEP
        offset = _offset(zone, following)
        if offset != known:
            rows.append((_microseconds(_change(zone, at, following, known) - _EPOCH), _microseconds(offset)))
            known = offset
        at = following
    return np.array(rows, np.int64)


def _offset(zone: ZoneInfo, at: datetime) -> timedelta:
    offset = at.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _change(zone: ZoneInfo, before: datetime, after: datetime, known: timedelta) -> datetime:
    """The first second at which the offset is another."""
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        if _offset(zone, middle) == known:
            before = middle
        else:
            after = middle
    return after


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
