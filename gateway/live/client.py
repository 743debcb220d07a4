"""One client: what it asked for, what it has been sent, and what waits for it. No I/O: `socket.py` does that."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

import numpy as np

from gateway.json_view import encode
from gateway.live.subscription import Subscription
from gateway.live.tenant import Tenant
from gateway.live.view_frames import PresentFrames, ViewFrame
from gateway.metrics import EVENTS_MISSED, EVENTS_QUEUED, FRAMES_DROPPED

_REPLIES: Final = 16


def text(message: object) -> str:
    """A JSON text."""
    return encode(message).decode()


class Outlet(Protocol):
    """The way to a client's socket."""

    @property
    def is_clear(self) -> bool:
        """Whether the client has read nearly all that was sent."""

    def send(self, message: str | bytes) -> bool:
        """Sends one message without waiting; False when the connection is closing."""


class Client:
    """Belongs to one tenant for life.

    Positions are not queued: a client that is behind has an older `tick`, and its next frame spans what it missed.
    Events and notices are: at most `event_queue`, then the oldest give way and are counted. Replies to the client's own
    messages wait in `replies`; when that is full its messages are not read.
    """

    def __init__(self, tenant: Tenant, frames: PresentFrames, event_queue: int) -> None:
        self.tenant: Final = tenant
        self._frames: Final = frames
        self.wake: Final = asyncio.Event()
        """Set when there may be something to send."""
        self.is_resting = False
        """Whether its task has nothing to send and waits to be woken."""
        self.outlet: Outlet | None = None
        """Where frames may be sent to without waking its task."""
        self.replies: Final[asyncio.Queue[str]] = asyncio.Queue(_REPLIES)
        self._events: Final[deque[str]] = deque()
        self._event_queue = event_queue
        self._missed = 0
        self._subscription: Subscription | None = None
        self._numbers: frozenset[int] = frozenset()
        self._tick: int | None = None
        self._fresh = True
        self._named = np.zeros(0, np.bool_)

    def deliver(self) -> ViewFrame | None:
        """Sends the present frame at once, if there is one and nothing else waits; otherwise wakes the client's task.

        To wake a task for each of a thousand clients takes longer than to make their frames.
        """
        outlet = self.outlet
        if outlet is None or not self.is_resting or self.wake.is_set() or not outlet.is_clear:
            self.wake.set()
            return None
        found = self.next_frame()
        if found is None:
            return None
        names, frame = found
        if names is not None:
            outlet.send(names)
        return frame if outlet.send(frame.data) else None

    async def reply(self, message: object) -> None:
        """Queues an answer to the client's own message; waits while too many wait."""
        await self.replies.put(text(message))
        self.wake.set()

    def subscribe(self, subscription: Subscription, resume: tuple[str, int] | None) -> None:
        """Replaces what the client sees. `resume` is a token of an earlier subscription and the sequence reached."""
        self._release_selection()
        self._subscription = subscription
        self._numbers = frozenset(subscription.device_numbers or ())
        self.tenant.selections[subscription.selection] += 1
        self._tick = None
        self._fresh = True
        if resume is not None and resume[0] == self.resume_token() and resume[1] <= self.tenant.table.tick:
            self._tick = resume[1]
        self.wake.set()

    def resume_token(self) -> str:
        """Names this table and selection: with it and a sequence, another connection can go on."""
        assert self._subscription is not None
        return f"{self.tenant.epoch}.{self._subscription.selection.fingerprint()}"

    def _release_selection(self) -> None:
        if self._subscription is not None:
            selection = self._subscription.selection
            self.tenant.selections[selection] -= 1
            if self.tenant.selections[selection] == 0:
                del self.tenant.selections[selection]

    def close(self) -> None:
        """Takes the client out of what its tenant counts."""
        self._release_selection()
        self._subscription = None
        EVENTS_QUEUED.dec(len(self._events))
        self._events.clear()

    def wants_event(self, device_number: int, *, alert: bool) -> bool:
        """Whether an event is for this client."""
        subscription = self._subscription
        if subscription is None or subscription.events == "none" or (subscription.events == "alerts" and not alert):
            return False
        return subscription.device_numbers is None or device_number in self._numbers

    def wants_notices(self) -> bool:
        """Whether changes of definitions and shipments are for this client."""
        return self._subscription is not None and self._subscription.events != "none"

    def push(self, message: str) -> None:
        """Queues an event or notice."""
        if len(self._events) >= self._event_queue:
            self._events.popleft()
            self._missed += 1
            EVENTS_MISSED.inc()
            EVENTS_QUEUED.dec()
        self._events.append(message)
        EVENTS_QUEUED.inc()
        self.wake.set()

    def next_event(self) -> str | None:
        """What to send next of the events; a gap is told before what follows it."""
        if self._missed:
            missed, self._missed = self._missed, 0
            return text({"type": "events_missed", "count": missed})
        if not self._events:
            return None
        EVENTS_QUEUED.dec()
        return self._events.popleft()

    def next_frame(self) -> tuple[str | None, ViewFrame] | None:
        """The frame that brings the client to the present tick, with the `names` message that must go before it, if
        any. None when there is nothing to tell.
        """
        tenant, subscription = self.tenant, self._subscription
        if subscription is None or not tenant.loaded or self._tick == tenant.table.tick:
            return None
        frames = self._frames.get()
        frame: ViewFrame | None
        if self._tick is None:
            frame = frames.snapshot(subscription.selection)
        else:
            if not self._fresh:
                FRAMES_DROPPED.inc(frames.tick - self._tick - 1)
            try:
                frame = frames.difference(subscription.selection, self._tick)
            except LookupError:
                frame = frames.snapshot(subscription.selection)
        self._tick = frames.tick
        self._fresh = False
        if frame is None:
            return None
        return self._names_for(frame) if subscription.format == "binary" else None, frame

    def _names_for(self, frame: ViewFrame) -> str | None:
        if len(self._named) < self.tenant.table.length:
            grown = np.zeros(len(self.tenant.table.device_number), np.bool_)
            grown[: len(self._named)] = self._named
            self._named = grown
        unnamed = frame.rows[~self._named[frame.rows]]
        if not len(unnamed):
            return None
        self._named[unnamed] = True
        return text({"type": "names", "devices": [self.tenant.name_view(row) for row in unnamed.tolist()]})
