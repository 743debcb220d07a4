"""A tenant, and the clients who look at it."""

from __future__ import annotations

from typing import Final

from gateway.live.client import Client
from gateway.live.tenant import Tenant
from gateway.live.view_frames import PresentFrames


class Audience:
    """All clients of one tenant, and the frames they share."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant: Final = tenant
        self.clients: Final[set[Client]] = set()
        self._frames: Final = PresentFrames(tenant)

    def join(self, event_queue: int) -> Client:
        """A new client. `event_queue` events and notices may wait for it."""
        client = Client(self.tenant, self._frames, event_queue)
        self.clients.add(client)
        return client
