"""From a client's `subscribe` to a subscription: devices are looked up, and only the tenant's own are found."""

from __future__ import annotations

import asyncio
from typing import Final

from drover.api.ingest.v1.ingest_service_pb2 import Device, GetDeviceRequest
from gateway.auth import Session
from gateway.live.hub import Hub
from gateway.live.subscription import SubscribeMessage, Subscription, viewport
from gateway.live.tenant import Tenant
from gateway.problems import TooManyDevices, UnknownDevices
from gateway.upstream import Upstream
from runtime.problems import NotFound

_AT_ONCE: Final = 16


async def subscription_of(
    message: SubscribeMessage,
    tenant: Tenant,
    session: Session,
    hub: Hub,
    upstream: Upstream,
    max_devices: int,
) -> Subscription:
    """What the message asks for. Raises TooManyDevices, UnknownDevices, or Unavailable when a device must be looked up
    and the registry is away.
    """
    if message.viewport is not None:
        return Subscription(viewport(*message.viewport), None, message.format, message.events)
    if message.devices is None:
        return Subscription(None, None, message.format, message.events)
    if len(message.devices) > max_devices:
        raise TooManyDevices(f"a subscription names at most {max_devices} devices, this one {len(message.devices)}")
    unknown = sorted({device_id for device_id in message.devices if device_id not in tenant.row_of_id})
    if unknown:
        await _look_up(unknown, tenant, session, hub, upstream)
    numbers = sorted({int(tenant.table.device_number[tenant.row_of_id[each]]) for each in message.devices})
    return Subscription(None, tuple(numbers), message.format, message.events)


async def _look_up(device_ids: list[str], tenant: Tenant, session: Session, hub: Hub, upstream: Upstream) -> None:
    """Asks the registry for devices that have not been seen yet, with the caller's own token."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(device_id: str) -> Device | None:
        async with gate:
            try:
                found = await upstream.call(
                    upstream.registry.GetDevice, GetDeviceRequest(device_id=device_id), session.token
                )
            except NotFound:
                return None
        return found.device

    answers = await asyncio.gather(*(one(device_id) for device_id in device_ids))
    missing = [device_id for device_id, device in zip(device_ids, answers, strict=True) if device is None]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UnknownDevices(f"no such device: {', '.join(missing[:3])}{more}")
    found = [device for device in answers if device is not None]
    hub.add_devices(tenant, ((each.device_number, each.device_id, each.display_name) for each in found))
