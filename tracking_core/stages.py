"""How a stage is run: a kernel goes through the readings until it lacks room, gets room, and goes on."""

from __future__ import annotations

from collections.abc import Callable

from tracking_core.telling.event_rows import EventBuffer

_ROOM = 256


def run_stage(events: EventBuffer, kernel: Callable[[int], int], end: int, make_room: Callable[[int], None]) -> None:
    """Calls `kernel(start)` until it returns `end`. Before each call `make_room(n)` gives the stage's own tables room
    for n more of what they hold, and `events` has n free rows; n doubles with every call.
    """
    room, start = _ROOM, 0
    while True:
        events.make_room(room)
        make_room(room)
        start = kernel(start)
        if start >= end:
            return
        room *= 2
