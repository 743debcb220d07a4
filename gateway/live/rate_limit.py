"""How often a client may speak."""

from __future__ import annotations


class RateLimit:
    """A token bucket: `per_s` lastingly, `burst` at once."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at_s: float | None = None

    def allows(self, now_s: float) -> bool:
        """Whether one more is allowed at `now_s`, which never goes back; if so it is counted."""
        if self._at_s is not None:
            self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
