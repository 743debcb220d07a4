"""The one place where pub/sub, tables and clients meet: takes messages in, moves the ticks on, wakes clients."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Final

import numpy as np
import redis.asyncio as redis
import structlog
from google.protobuf.message import DecodeError

from drover.shipment.v1.shipment_pb2 import Shipment
from drover.tracking.v1.definition_pb2 import DefinitionChange
from drover.tracking.v1.event_pb2 import TrackingEvent
from gateway import json_view, metrics
from gateway.live import listener
from gateway.live.audience import Audience
from gateway.live.client import Client, text
from gateway.live.device_index import FOREIGN, UNKNOWN, DeviceIndex
from gateway.live.frames import Kind
from gateway.live.latest import fetch_latest
from gateway.live.positions_table import Fixes
from gateway.live.tenant import Tenant
from gateway.problems import details_of
from gateway.settings import GatewaySettings
from gateway.upstream import Upstream
from runtime.problems import Problem
from tracking_core import live_frame

log = structlog.get_logger()

_BURST: Final = 32
_IDLE_S: Final = 300.0
_RETRY_S: Final = 1.0
_DEFINITIONS: Final = {
    "fence_put": ("fence", "fence_id"),
    "fence_deleted": ("fence", "id"),
    "limit_put": ("limit", "limit_id"),
    "limit_deleted": ("limit", "id"),
    "route_put": ("route", "route_id"),
    "route_deleted": ("route", "id"),
    "proximity_put": ("proximity", "proximity_id"),
    "proximity_deleted": ("proximity", "id"),
}


class Hub:
    """Holds the tenants that have clients, or had some lately. `running` must be entered for anything to happen.

    Without Redis it hears only what `hear` is called with.
    """

    def __init__(self, settings: GatewaySettings, redis_client: redis.Redis | None, upstream: Upstream) -> None:
        self._settings = settings
        self._redis = redis_client
        self._upstream = upstream
        self._audiences: dict[str, Audience] = {}
        self._by_number: dict[int, Tenant] = {}
        self._next_number = 1
        self._index = DeviceIndex()
        self._unknown: set[int] = set()
        self._stale: set[Tenant] = set()
        self._fetch = asyncio.Event()
        self.stopping: Final = asyncio.Event()
        """Set when clients must leave."""
        self.nobody: Final = asyncio.Event()
        """Set while there are no clients."""
        self.nobody.set()
        self.client_count = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hears and ticks while the context lasts. A bug in either ends the context with it."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._ticks()), group.create_task(self._fetches())]
            if self._redis is not None:
                tasks.append(group.create_task(listener.listen(self._redis, self.hear, self.resync)))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    # Clients

    def join(self, tenant_name: str) -> Client:
        """A new client of a tenant."""
        audience = self._audiences.get(tenant_name)
        if audience is None:
            tenant = Tenant(tenant_name, self._next_number, self._settings.history_ticks)
            self._next_number += 1
            audience = Audience(tenant)
            self._audiences[tenant_name] = audience
            self._by_number[tenant.number] = tenant
            self._stale.add(tenant)
            self._fetch.set()
        client = audience.join(self._settings.event_queue)
        self.client_count += 1
        self.nobody.clear()
        metrics.CLIENTS.set(self.client_count)
        return client

    def leave(self, client: Client) -> None:
        """The client is gone."""
        client.close()
        self._audiences[client.tenant.name].clients.discard(client)
        client.tenant.idle_since_s = time.monotonic()
        self.client_count -= 1
        if not self.client_count:
            self.nobody.set()
        metrics.CLIENTS.set(self.client_count)

    def add_devices(self, tenant: Tenant, devices: Iterable[tuple[int, str, str]]) -> None:
        """Makes devices (number, id, display name) known that have not been seen yet."""
        self._index.put(tenant.number, tenant.add_devices(devices))

    # What is heard

    def hear(self, channel: str, data: bytes) -> None:
        """One pub/sub message. One that cannot be read is counted and passed over."""
        try:
            if channel.startswith(listener.LIVE):
                metrics.PUBSUB_MESSAGES.labels("live").inc()
                self._hear_positions(live_frame.unpack(data))
            elif channel.startswith(listener.ALERTS):
                metrics.PUBSUB_MESSAGES.labels("alerts").inc()
                self._hear_event(channel.removeprefix(listener.ALERTS).rpartition(".")[0], data)
            elif channel.startswith(listener.DEFINITIONS):
                metrics.PUBSUB_MESSAGES.labels("definitions").inc()
                self._hear_definition(channel.removeprefix(listener.DEFINITIONS), data)
            elif channel.startswith(listener.SHIPMENTS):
                metrics.PUBSUB_MESSAGES.labels("shipments").inc()
                self._hear_shipment(channel.removeprefix(listener.SHIPMENTS), data)
        except (live_frame.DamagedFrameError, DecodeError) as error:
            metrics.PUBSUB_DAMAGED.labels(channel.split(".")[1]).inc()
            log.warning("a pub/sub message is damaged", channel=channel, reason=str(error))

    def _hear_positions(self, columns: live_frame.LiveColumns) -> None:
        if not len(columns.device):
            return
        now_s = time.time()
        metrics.PUBSUB_LAG_SECONDS.observe(max(0.0, now_s - int(columns.received_at_us.max()) / 1e6))
        metrics.LATENESS_SECONDS.observe(now_s - columns.observed_at_us / 1e6)
        tenants, rows = self._index.find(columns.device)
        for number in np.unique(tenants).tolist():
            if number == FOREIGN:
                continue
            mask = tenants == number
            if number == UNKNOWN:
                self._hear_unknown(columns.device[mask].tolist())
                continue
            tenant = self._by_number.get(number)
            if tenant is None:  # dropped while its positions were being fetched
                continue
            tenant.table.take(
                rows[mask].astype(np.int64),
                Fixes(
                    columns.observed_at_us[mask],
                    columns.longitude_deg[mask],
                    columns.latitude_deg[mask],
                    columns.speed_mps[mask],
                    columns.heading_deg[mask],
                    columns.accuracy_m[mask],
                ),
                columns.received_at_us[mask],
            )

    def _hear_unknown(self, numbers: list[int]) -> None:
        """New devices, or those of tenants without clients: the next fetch tells which."""
        if self._audiences:
            self._unknown.update(numbers)
            self._stale.update(audience.tenant for audience in self._audiences.values())
            self._fetch.set()

    def _hear_event(self, tenant_name: str, data: bytes) -> None:
        audience = self._audiences.get(tenant_name)
        if audience is None or not audience.clients:
            return
        event = TrackingEvent.FromString(data)
        if event.tenant != tenant_name:
            raise DecodeError("an event of another tenant than its channel's")
        alert = json_view.is_alert(event)
        message = ""
        for client in audience.clients:
            if client.wants_event(event.device_number, alert=alert):
                message = message or text({"type": "event", "alert": alert, "event": json_view.event(event)})
                client.push(message)

    def _hear_definition(self, tenant_name: str, data: bytes) -> None:
        if tenant_name in self._audiences:
            change = DefinitionChange.FromString(data)
            field = change.WhichOneof("change")
            if field is not None:
                kind, key = _DEFINITIONS[field]
                self._notify(
                    tenant_name,
                    {"type": "definition_changed", "kind": kind, "id": getattr(getattr(change, field), key)},
                )

    def _hear_shipment(self, tenant_name: str, data: bytes) -> None:
        if tenant_name in self._audiences:
            self._notify(tenant_name, {"type": "shipment_changed", "id": Shipment.FromString(data).shipment_id})

    def _notify(self, tenant_name: str, message: object) -> None:
        encoded = text(message)
        for client in self._audiences[tenant_name].clients:
            if client.wants_notices():
                client.push(encoded)

    # What is fetched

    def resync(self) -> None:
        """Something may have been missed: fetches the positions of all tenants with clients anew."""
        self._stale.update(audience.tenant for audience in self._audiences.values())
        self._fetch.set()

    async def _fetches(self) -> None:
        """Fetches tenants that are stale, one after the other, pausing so that a flood of new devices costs the
        tracking service a fifth of its time at most.
        """
        while True:
            await self._fetch.wait()
            self._fetch.clear()
            started_s = time.monotonic()
            tenants, self._stale = self._stale, set()
            unknown, self._unknown = self._unknown, set()
            failed = False
            for tenant in tenants:
                try:
                    await fetch_latest(self._upstream, tenant, self._index)
                except Problem as problem:
                    failed = True
                    self._fetch_failed(tenant, problem)
                else:
                    metrics.RESYNCS.labels("done").inc()
                    tenant.loaded = True
                    self._advance(tenant)
            if failed:
                self._unknown |= unknown
                self._fetch.set()
            elif unknown:
                numbers = np.array(sorted(unknown), np.uint32)
                self._index.forget(numbers[self._index.find(numbers)[0] == UNKNOWN])
            await asyncio.sleep(max(_RETRY_S if failed or unknown else 0.0, 4 * (time.monotonic() - started_s)))

    def _fetch_failed(self, tenant: Tenant, problem: Problem) -> None:
        metrics.RESYNCS.labels("failed").inc()
        log.warning("cannot fetch positions", tenant=tenant.name, reason=str(problem), code=problem.code)
        audience = self._audiences.get(tenant.name)
        if audience is None:
            return
        self._stale.add(tenant)
        if not tenant.loaded:
            message = text({"type": "error", "problem": details_of(problem)})
            for client in audience.clients:
                if client.replies.empty():  # told once until it is read
                    client.replies.put_nowait(message)
                    client.wake.set()

    # Ticks

    async def _ticks(self) -> None:
        interval_s, share = self._settings.frame_interval_s, self._settings.frame_time_share
        due_s = time.monotonic()
        while True:
            due_s = max(due_s + interval_s, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())
            started_s = time.monotonic()
            changed = [audience for audience in self._audiences.values() if audience.tenant.table.advance()]
            for audience in changed:
                await self._show(audience)
            took_s = time.monotonic() - started_s
            metrics.TICK_SECONDS.observe(took_s)
            # With many clients frames come less often, before REST and pub/sub have to wait for them.
            due_s = max(due_s, started_s + took_s / share - interval_s)
            self._drop_idle()

    def _advance(self, tenant: Tenant) -> None:
        """Shows what was fetched without waiting for the next tick."""
        tenant.table.advance()
        audience = self._audiences.get(tenant.name)
        for client in audience.clients if audience else ():
            client.wake.set()

    async def _show(self, audience: Audience) -> None:
        """Brings clients to the present tick by and by: REST and pub/sub get their turn between them."""
        frames: Counter[Kind] = Counter()
        positions = size = 0
        for count, client in enumerate(list(audience.clients), 1):
            frame = client.deliver()
            if frame is not None:
                frames[frame.kind] += 1
                positions += len(frame.rows)
                size += len(frame.data)
            if count % _BURST == 0:
                await asyncio.sleep(0)
        for kind, sent in frames.items():
            metrics.FRAMES_SENT.labels(kind.name.lower()).inc(sent)
        metrics.POSITIONS_SENT.inc(positions)
        metrics.BYTES_SENT.inc(size)

    def _drop_idle(self) -> None:
        now_s = time.monotonic()
        for audience in list(self._audiences.values()):
            tenant = audience.tenant
            if not audience.clients and now_s - tenant.idle_since_s > _IDLE_S:
                del self._audiences[tenant.name]
                del self._by_number[tenant.number]
                self._stale.discard(tenant)
                self._index.forget(tenant.table.device_number[: tenant.table.length])
        metrics.DEVICES.set(sum(audience.tenant.table.length for audience in self._audiences.values()))
