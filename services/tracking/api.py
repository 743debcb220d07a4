"""The gRPC face of the tracking service: proto to command, answer to proto, nothing else."""

# ruff: noqa: ARG002, N802 - grpc gives names and arguments

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc

from drover.api.tracking.v1 import tracking_service_pb2 as pb
from drover.api.tracking.v1 import tracking_service_pb2_grpc as pb_grpc
from drover.geofence.v1.fence_pb2 import Fence
from drover.tracking.v1.definition_pb2 import Proximity, Route, SensorLimit
from drover.tracking.v1.event_pb2 import TrackingEvent
from runtime import page_token
from runtime.grpc_server import require
from runtime.problems import Invalid
from runtime.tokens import Role
from services.tracking import commands, handlers
from services.tracking.directory import Directory
from services.tracking.explanations.handler import explain
from services.tracking.explanations.wire import to_proto
from services.tracking.model import DefinitionKind, EventFilter, TrackPoint
from services.tracking.ports import Ports
from tracking_core.columns import NO_TIME
from tracking_core.routes.eta import StopEta
from tracking_core.settings import HOUR_US, MINUTE_US
from tracking_core.step_result import LatestColumns

Context = grpc.aio.ServicerContext[Any, Any]

READERS: Final = (Role.VIEWER, Role.DISPATCHER, Role.ADMIN)
EDITORS: Final = (Role.DISPATCHER, Role.ADMIN)
DEFAULT_PAGE: Final = 1_000
LARGEST_PAGE: Final = 5_000
"""Larger pages would hold up everything else on the event loop for more than some 20 ms."""
LARGEST_ANSWER_BYTES: Final = 8 * 1024 * 1024


DEFAULT_WINDOW_US: Final = 30 * MINUTE_US
LARGEST_WINDOW_US: Final = 24 * HOUR_US
LATEST_US: Final = 253_370_764_800_000_000
"""The year 9999: what is after the year that follows, no text can say."""


class BadTime(Invalid):
    """A time or a duration that makes no sense."""

    code = "bad_time"


class NoTenant(Invalid):
    """A service that does not say for whom it asks."""

    code = "no_tenant"


def _tenant(*roles: Role) -> str:
    tenant = require(*roles).tenant
    if not tenant:
        raise NoTenant("the call names no tenant")
    return tenant


def _page_size(asked: int) -> int:
    return min(asked or DEFAULT_PAGE, LARGEST_PAGE)


class TrackingApi(pb_grpc.TrackingServicer):
    """Where things are, were, and will be."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def GetLatest(self, request: pb.GetLatestRequest, context: Context) -> pb.GetLatestResponse:
        """See the proto."""
        tenant = _tenant(*READERS)
        after = page_token.decode("latest", request.page_token, int)
        command = commands.GetLatest(
            tenant, tuple(request.device_ids), after[0] if after else -1, _page_size(request.page_size)
        )
        page = await handlers.get_latest(command, self._ports)
        return pb.GetLatestResponse(
            positions=[
                position
                for columns, inside in page.parts
                for position in _latest_positions(columns, inside, self._ports.directory)
            ],
            next_page_token="" if page.next_after is None else page_token.encode("latest", (page.next_after,)),
        )

    async def GetTrack(self, request: pb.GetTrackRequest, context: Context) -> pb.GetTrackResponse:
        """See the proto."""
        tenant = _tenant(*READERS)
        after = page_token.decode("track", request.page_token, int, int)
        size = _page_size(request.page_size)
        points = await handlers.get_track(
            commands.GetTrack(
                tenant, request.device_id, request.from_us, request.until_us, request.all_verdicts, after, size + 1
            ),
            self._ports,
        )
        token = _next_token("track", points, size, lambda last: (last.observed_at_us, last.content_hash))
        return pb.GetTrackResponse(points=[_track_point(point) for point in points[:size]], next_page_token=token)

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        """See the proto."""
        wanted = EventFilter(
            tenant=_tenant(*READERS),
            device_id=request.device_id,
            kind=request.kind,
            alerts_only=request.alerts_only,
            standing_only=request.standing_only,
            from_us=request.from_us,
            until_us=request.until_us,
        )
        before = page_token.decode("events", request.page_token, int, str)
        size = _page_size(request.page_size)
        events = await handlers.list_events(commands.ListEvents(wanted, before, size + 1), self._ports)
        token = _next_token("events", events, size, lambda last: (last.observed_at_us, last.event_id))
        return pb.ListEventsResponse(
            events=[TrackingEvent.FromString(event.body) for event in events[:size]], next_page_token=token
        )

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        """See the proto."""
        tenant = _tenant(*READERS)
        if not 0 < request.at_us < LATEST_US:
            raise BadTime("`at_us` is a time in microseconds since 1970, before the year 9999")
        if not 0 <= request.window_us <= LARGEST_WINDOW_US:
            raise BadTime(f"`window_us` is from 0 to {LARGEST_WINDOW_US}, a day")
        command = commands.Explain(
            tenant, request.device_id, request.fence_id, request.at_us, request.window_us or DEFAULT_WINDOW_US
        )
        explained = await explain(command, self._ports)
        return pb.ExplainResponse(explanation=to_proto(explained))

    async def GetEta(self, request: pb.GetEtaRequest, context: Context) -> pb.GetEtaResponse:
        """See the proto."""
        eta = await handlers.get_eta(commands.GetEta(_tenant(*READERS), request.route_id), self._ports)
        return pb.GetEtaResponse(
            route_id=eta.route_id,
            device_id=eta.device_id,
            stops=[_stop_eta(stop) for stop in eta.stops],
            method=eta.method,
            based_on_us=eta.based_on_us,
            reasons=eta.reasons,
        )

    async def GetAccounts(self, request: pb.GetAccountsRequest, context: Context) -> pb.GetAccountsResponse:
        """See the proto."""
        found = await handlers.get_accounts(_tenant(*READERS), self._ports)
        response = pb.GetAccountsResponse(
            verdicts=[
                pb.VerdictCount(verdict=verdict, count=amount)  # type: ignore[arg-type]
                for verdict, amount in sorted(found.verdicts.items())
            ]
        )
        for name, amount in found.counters.items():
            if name in response.DESCRIPTOR.fields_by_name:
                setattr(response, name, amount)
        return response


class DefinitionsApi(pb_grpc.DefinitionsServicer):
    """The definitions that the engines obey."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def PutFence(self, request: pb.PutFenceRequest, context: Context) -> pb.PutFenceResponse:
        """See the proto."""
        expected = request.expected_version if request.HasField("expected_version") else None
        stored = await handlers.put_fence(commands.PutFence(_tenant(*EDITORS), request.fence, expected), self._ports)
        return pb.PutFenceResponse(fence=Fence.FromString(stored.body))

    async def GetFence(self, request: pb.GetFenceRequest, context: Context) -> pb.GetFenceResponse:
        """See the proto."""
        found = await handlers.get_fence(commands.GetFence(_tenant(*READERS), request.fence_id), self._ports)
        return pb.GetFenceResponse(fence=Fence.FromString(found.body))

    async def ListFences(self, request: pb.ListFencesRequest, context: Context) -> pb.ListFencesResponse:
        """See the proto."""
        tenant = _tenant(*READERS)
        after = page_token.decode("fences", request.page_token, str)
        size = _page_size(request.page_size)
        found = await handlers.list_fences(
            commands.ListFences(tenant, after[0] if after else "", size + 1), self._ports
        )
        response = pb.ListFencesResponse(
            next_page_token=_next_token("fences", found, size, lambda last: (last.definition_id,))
        )
        used = 0
        for position, each in enumerate(found[:size]):
            # A page ends before it outgrows a message: fences may have many thousand vertices.
            used += len(each.body)
            if used > LARGEST_ANSWER_BYTES and position:
                response.next_page_token = page_token.encode("fences", (found[position - 1].definition_id,))
                break
            response.fences.append(Fence.FromString(each.body))
        return response

    async def DeleteFence(self, request: pb.DeleteFenceRequest, context: Context) -> pb.DeleteFenceResponse:
        """See the proto."""
        await self._delete(DefinitionKind.FENCE, request.fence_id)
        return pb.DeleteFenceResponse()

    async def PutSensorLimit(self, request: pb.PutSensorLimitRequest, context: Context) -> pb.PutSensorLimitResponse:
        """See the proto."""
        stored = await handlers.put_limit(commands.PutLimit(_tenant(*EDITORS), request.limit), self._ports)
        return pb.PutSensorLimitResponse(limit=SensorLimit.FromString(stored.body))

    async def DeleteSensorLimit(
        self, request: pb.DeleteSensorLimitRequest, context: Context
    ) -> pb.DeleteSensorLimitResponse:
        """See the proto."""
        await self._delete(DefinitionKind.LIMIT, request.limit_id)
        return pb.DeleteSensorLimitResponse()

    async def PutRoute(self, request: pb.PutRouteRequest, context: Context) -> pb.PutRouteResponse:
        """See the proto."""
        stored = await handlers.put_route(commands.PutRoute(_tenant(*EDITORS), request.route), self._ports)
        return pb.PutRouteResponse(route=Route.FromString(stored.body))

    async def DeleteRoute(self, request: pb.DeleteRouteRequest, context: Context) -> pb.DeleteRouteResponse:
        """See the proto."""
        await self._delete(DefinitionKind.ROUTE, request.route_id)
        return pb.DeleteRouteResponse()

    async def PutProximity(self, request: pb.PutProximityRequest, context: Context) -> pb.PutProximityResponse:
        """See the proto."""
        expected = request.expected_version if request.HasField("expected_version") else None
        command = commands.PutProximity(_tenant(*EDITORS), request.proximity, expected)
        stored = await handlers.put_proximity(command, self._ports)
        return pb.PutProximityResponse(proximity=Proximity.FromString(stored.body))

    async def GetProximity(self, request: pb.GetProximityRequest, context: Context) -> pb.GetProximityResponse:
        """See the proto."""
        command = commands.GetProximity(_tenant(*READERS), request.proximity_id)
        found = await handlers.get_proximity(command, self._ports)
        return pb.GetProximityResponse(proximity=Proximity.FromString(found.body))

    async def ListProximities(self, request: pb.ListProximitiesRequest, context: Context) -> pb.ListProximitiesResponse:
        """See the proto."""
        tenant = _tenant(*READERS)
        after = page_token.decode("proximities", request.page_token, str)
        size = _page_size(request.page_size)
        command = commands.ListProximities(tenant, after[0] if after else "", size + 1)
        found = await handlers.list_proximities(command, self._ports)
        return pb.ListProximitiesResponse(
            proximities=[Proximity.FromString(each.body) for each in found[:size]],
            next_page_token=_next_token("proximities", found, size, lambda last: (last.definition_id,)),
        )

    async def DeleteProximity(self, request: pb.DeleteProximityRequest, context: Context) -> pb.DeleteProximityResponse:
        """See the proto."""
        await self._delete(DefinitionKind.PROXIMITY, request.proximity_id)
        return pb.DeleteProximityResponse()

    async def _delete(self, kind: DefinitionKind, definition_id: str) -> None:
        command = commands.DeleteDefinition(kind, _tenant(*EDITORS), definition_id)
        await handlers.delete_definition(command, self._ports)


def _next_token(listed: str, found: list[Any], size: int, key: Callable[[Any], tuple[int | str, ...]]) -> str:
    """The token for what follows the page, where one more than the page was found."""
    return page_token.encode(listed, key(found[size - 1])) if len(found) > size else ""


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _latest_positions(
    columns: LatestColumns, inside: list[list[str]], directory: Directory
) -> Iterator[pb.LatestPosition]:
    lists = (column.tolist() for column in columns)
    for row, fence_ids in zip(zip(*lists, strict=True), inside, strict=True):
        number, observed, received, latitude, longitude, altitude, speed, heading, accuracy, *journey = row
        travelled, smoothed_latitude, smoothed_longitude, stop_began = journey
        device = directory.device(number)
        if device is None:
            continue
        yield pb.LatestPosition(
            device_id=device.device_id,
            device_number=number,
            display_name=device.display_name,
            observed_at_us=observed,
            received_at_us=received,
            latitude_deg=latitude,
            longitude_deg=longitude,
            altitude_m=_known(altitude),
            speed_mps=_known(speed),
            heading_deg=_known(heading),
            accuracy_m=_known(accuracy),
            inside_fence_ids=fence_ids,
            travelled_m=_known(travelled),
            smoothed_latitude_deg=_known(smoothed_latitude),
            smoothed_longitude_deg=_known(smoothed_longitude),
            stop_began_at_us=None if stop_began == NO_TIME else stop_began,
        )


def _track_point(point: TrackPoint) -> pb.TrackPoint:
    return pb.TrackPoint(
        observed_at_us=point.observed_at_us,
        received_at_us=point.received_at_us,
        latitude_deg=point.latitude_deg or 0.0,
        longitude_deg=point.longitude_deg or 0.0,
        speed_mps=point.speed_mps,
        heading_deg=point.heading_deg,
        accuracy_m=point.accuracy_m,
        verdict=point.verdict,  # type: ignore[arg-type]
    )


def _stop_eta(stop: StopEta) -> pb.StopEta:
    return pb.StopEta(
        stop_id=stop.stop_id,
        p10_us=stop.p10_us or 0,
        p50_us=stop.p50_us or 0,
        p90_us=stop.p90_us or 0,
        remaining_m=0.0 if math.isnan(stop.remaining_m) else stop.remaining_m,
        passed=stop.passed,
        planned_arrival_us=stop.planned_arrival_us,
    )
