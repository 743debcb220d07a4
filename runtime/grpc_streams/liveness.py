"""Whether a connection is worth keeping: how long it may be without a call, and without a sign of life.

Pure: times in seconds of a monotonic clock go in, a verdict comes out.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Limits(NamedTuple):
    """What a server puts up with. The last two are gRPC's own defaults (gRFC A8 and A9)."""

    max_connections: int = 16_384
    idle_s: float = 300.0
    """Without a call. A client of gRPC connects again by itself for its next one."""
    ping_after_s: float = 7200.0
    """Without a byte from the peer. A host that has vanished is noticed sooner, by TCP; behind a proxy it is not."""
    ping_timeout_s: float = 20.0
    """From the ping to any byte from the peer."""


class Verdict(enum.Enum):
    """What to do with a connection now."""

    KEEP = enum.auto()
    PING = enum.auto()
    IDLE = enum.auto()
    """Nobody has called for too long."""
    DEAD = enum.auto()
    """The ping is not answered."""


class Liveness:
    """Of one connection. Ask `judge` now and then."""

    __slots__ = ("_heard_s", "_limits", "_pinged_s", "_used_s")

    def __init__(self, limits: Limits, now_s: float) -> None:
        self._limits = limits
        self._heard_s = now_s
        self._used_s = now_s
        self._pinged_s: float | None = None

    def hear(self, now_s: float, *, is_use: bool) -> None:
        """Bytes came; they are `is_use` when they belong to a call."""
        self._heard_s = now_s
        self._pinged_s = None
        if is_use:
            self._used_s = now_s

    def judge(self, now_s: float, *, has_calls: bool) -> Verdict:
        """The verdict now. PING is said once, until something is heard."""
        limits = self._limits
        if self._pinged_s is not None and now_s - self._pinged_s >= limits.ping_timeout_s:
            return Verdict.DEAD
        if has_calls:
            self._used_s = now_s
        elif now_s - self._used_s >= limits.idle_s:
            return Verdict.IDLE
        if self._pinged_s is None and now_s - self._heard_s >= limits.ping_after_s:
            self._pinged_s = now_s
            return Verdict.PING
        return Verdict.KEEP
