"""What the tracking service does with a command: checks, the port it needs, an answer. No protocol, no SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from services.tracking import definition_rules
from services.tracking.commands import (
    DeleteDefinition,
    GetEta,
    GetFence,
    GetLatest,
    GetProximity,
    GetTrack,
    ListEvents,
    ListFences,
    ListProximities,
    PutFence,
    PutLimit,
    PutProximity,
    PutRoute,
)
from services.tracking.model import (
    NEVER_PUT,
    Accounts,
    Definition,
    DefinitionKind,
    StoredEvent,
    TrackPoint,
    UnknownDefinition,
    UnknownDevice,
    VersionConflict,
)
from services.tracking.ports import Ports
from tracking_core.routes.eta import RouteEta
from tracking_core.step_result import LatestColumns


class LatestPage(NamedTuple):
    """Positions by partition, and the device number after which the next page begins; None on the last."""

    parts: list[tuple[LatestColumns, list[list[str]]]]
    next_after: int | None


async def put_fence(command: PutFence, ports: Ports) -> Definition:
    """Raises InvalidDefinition, VersionConflict."""
    fence = definition_rules.checked_fence(command.fence, command.tenant, ports.limits)
    change = _putting(fence, "", command.expected_version)
    return await ports.editor.edit(DefinitionKind.FENCE, command.tenant, fence.fence_id, change, ports.now_us())


async def put_limit(command: PutLimit, ports: Ports) -> Definition:
    """Raises InvalidDefinition."""
    limit = definition_rules.checked_limit(command.limit, command.tenant)
    change = _putting(limit, limit.device_id)
    return await ports.editor.edit(DefinitionKind.LIMIT, command.tenant, limit.limit_id, change, ports.now_us())


async def put_route(command: PutRoute, ports: Ports) -> Definition:
    """Raises InvalidDefinition."""
    route = definition_rules.checked_route(command.route, command.tenant, ports.limits)
    change = _putting(route, route.device_id)
    return await ports.editor.edit(DefinitionKind.ROUTE, command.tenant, route.route_id, change, ports.now_us())


async def put_proximity(command: PutProximity, ports: Ports) -> Definition:
    """Raises InvalidDefinition, VersionConflict."""
    proximity = definition_rules.checked_proximity(command.proximity, command.tenant)
    change = _putting(proximity, proximity.device_id, command.expected_version)
    return await ports.editor.edit(
        DefinitionKind.PROXIMITY, command.tenant, proximity.proximity_id, change, ports.now_us()
    )


def _putting(
    message: definition_rules.Message, device_id: str, expected_version: int | None = None
) -> Callable[[Definition], Definition | None]:
    """Replaces any version by this message, unless it says the same; checks first that it is the version expected."""

    def change(present: Definition) -> Definition | None:
        stored = NEVER_PUT if present.deleted else present.version
        if expected_version is not None and expected_version != stored:
            raise VersionConflict(present.definition_id, expected_version, stored)
        if not present.deleted and definition_rules.with_version(message, present.version) == present.body:
            return None
        version = present.version + 1
        return Definition(
            present.kind,
            present.tenant,
            present.definition_id,
            version,
            deleted=False,
            device_id=device_id,
            body=definition_rules.with_version(message, version),
        )

    return change


async def delete_definition(command: DeleteDefinition, ports: Ports) -> None:
    """Raises UnknownDefinition."""

    def change(present: Definition) -> Definition:
        if present.deleted:
            raise UnknownDefinition(present.kind, present.definition_id)
        return Definition(
            present.kind,
            present.tenant,
            present.definition_id,
            present.version + 1,
            deleted=True,
            device_id=present.device_id,
            body=b"",
        )

    await ports.editor.edit(command.kind, command.tenant, command.definition_id, change, ports.now_us())


async def get_fence(command: GetFence, ports: Ports) -> Definition:
    """Raises UnknownDefinition."""
    found = await ports.definitions.get(DefinitionKind.FENCE, command.tenant, command.fence_id)
    if found is None:
        raise UnknownDefinition(DefinitionKind.FENCE, command.fence_id)
    return found


async def list_fences(command: ListFences, ports: Ports) -> list[Definition]:
    """The next fences by id."""
    return await ports.definitions.list(DefinitionKind.FENCE, command.tenant, after=command.after, limit=command.limit)


async def get_proximity(command: GetProximity, ports: Ports) -> Definition:
    """Raises UnknownDefinition."""
    found = await ports.definitions.get(DefinitionKind.PROXIMITY, command.tenant, command.proximity_id)
    if found is None:
        raise UnknownDefinition(DefinitionKind.PROXIMITY, command.proximity_id)
    return found


async def list_proximities(command: ListProximities, ports: Ports) -> list[Definition]:
    """The next proximities by id."""
    return await ports.definitions.list(
        DefinitionKind.PROXIMITY, command.tenant, after=command.after, limit=command.limit
    )


async def get_latest(command: GetLatest, ports: Ports) -> LatestPage:
    """The newest counted fixes; devices that are unknown or have none are left out."""
    if command.device_ids:
        found = (ports.directory.find(command.tenant, device_id) for device_id in command.device_ids)
        numbers = sorted({device.number for device in found if device is not None and device.number > command.after})
        page = numbers[: command.limit]
        more = len(numbers) > len(page)
    else:
        numbers = list(ports.directory.numbers(command.tenant, after=command.after, limit=command.limit + 1))
        page = numbers[: command.limit]
        more = len(numbers) > len(page)
    return LatestPage(await ports.live.latest(page) if page else [], page[-1] if more else None)


async def get_track(command: GetTrack, ports: Ports) -> list[TrackPoint]:
    """The next stored positions by time. Raises UnknownDevice."""
    device = ports.directory.find(command.tenant, command.device_id)
    if device is None:
        raise UnknownDevice(command.device_id)
    return await ports.history.track(
        device.number,
        command.from_us,
        command.until_us,
        all_verdicts=command.all_verdicts,
        after=command.after,
        limit=command.limit,
    )


async def list_events(command: ListEvents, ports: Ports) -> list[StoredEvent]:
    """The next events, newest first."""
    return await ports.history.events(command.filter, before=command.before, limit=command.limit)


async def get_eta(command: GetEta, ports: Ports) -> RouteEta:
    """Raises UnknownDefinition, UnknownDevice (the route's device was never announced)."""
    route = await ports.definitions.get(DefinitionKind.ROUTE, command.tenant, command.route_id)
    if route is None:
        raise UnknownDefinition(DefinitionKind.ROUTE, command.route_id)
    device = ports.directory.find(command.tenant, route.device_id)
    if device is None:
        raise UnknownDevice(route.device_id)
    eta = await ports.live.eta(command.tenant, command.route_id, device.number, ports.now_us())
    if eta is None:
        # Stored, and on its way through the log.
        raise UnknownDefinition(DefinitionKind.ROUTE, command.route_id)
    return eta


async def get_accounts(tenant: str, ports: Ports) -> Accounts:
    """The tenant's accounts."""
    return await ports.history.accounts(tenant)
