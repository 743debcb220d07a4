"""The services behind the gateway, with their data in memory: real gRPC servers with the real guard, false insides."""

# ruff: noqa: N802 - gRPC names its methods so
from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import AsyncIterator

from drover.api.ingest.v1 import device_commands_pb2 as commands_pb
from drover.api.ingest.v1 import device_commands_pb2_grpc as commands_grpc
from drover.api.ingest.v1 import ingest_service_pb2 as ingest_pb
from drover.api.ingest.v1 import ingest_service_pb2_grpc as ingest_grpc
from drover.api.shipment.v1 import shipment_service_pb2 as shipment_pb
from drover.api.shipment.v1 import shipment_service_pb2_grpc as shipment_grpc
from drover.api.tracking.v1 import tracking_service_pb2 as tracking_pb
from drover.api.tracking.v1 import tracking_service_pb2_grpc as tracking_grpc
from drover.geofence.v1.fence_pb2 import CrossingRule, Fence
from drover.shipment.v1.shipment_pb2 import Shipment, ShipmentStatus
from drover.tracking.v1.definition_pb2 import Proximity
from drover.tracking.v1.event_pb2 import Standing, TrackingEvent, Verdict
from drover.tracking.v1.explanation_pb2 import (
    Accord,
    Evidence,
    EvidenceReason,
    ExplainedEvent,
    ExplainedFix,
    ExplainedVersion,
    Explanation,
    PresenceState,
    StartBasis,
)
from runtime.grpc_server import GrpcServer, require
from runtime.problems import Conflict, Exhausted, Invalid, NotFound, Problem
from runtime.tokens import Role, Verifier


class VersionConflict(Conflict):
    code = "version_conflict"


class Missing(NotFound):
    code = "unknown_thing"


class BadToken(Invalid):
    code = "invalid_page_token"


@dataclasses.dataclass
class World:
    """What the services know, by tenant."""

    devices: dict[str, dict[str, ingest_pb.Device]] = dataclasses.field(default_factory=lambda: defaultdict(dict))
    latest: dict[str, dict[str, tracking_pb.LatestPosition]] = dataclasses.field(
        default_factory=lambda: defaultdict(dict)
    )
    tracks: dict[str, dict[str, list[tracking_pb.TrackPoint]]] = dataclasses.field(
        default_factory=lambda: defaultdict(dict)
    )
    events: dict[str, list[TrackingEvent]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    proximities: dict[str, dict[str, Proximity]] = dataclasses.field(default_factory=lambda: defaultdict(dict))
    fences: dict[str, dict[str, Fence]] = dataclasses.field(default_factory=lambda: defaultdict(dict))
    shipments: dict[str, dict[str, Shipment]] = dataclasses.field(default_factory=lambda: defaultdict(dict))
    dead_letters: dict[str, dict[int, ingest_pb.DeadLetter]] = dataclasses.field(
        default_factory=lambda: defaultdict(dict)
    )
    calls: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    """Who called what: subject and method."""
    fail: Problem | None = None
    """What the next calls answer instead, if not None."""
    delay_s: float = 0.0

    def device(self, tenant: str, device_id: str, number: int) -> ingest_pb.Device:
        made = ingest_pb.Device(
            device_id=device_id,
            tenant=tenant,
            display_name=device_id.title(),
            device_number=number,
            provisioned_at_us=1_641_168_000_000_000,
            credential_state=ingest_pb.CREDENTIAL_STATE_NONE,
        )
        self.devices[tenant][device_id] = made
        return made

    def position(
        self,
        tenant: str,
        device_id: str,
        longitude_deg: float,
        latitude_deg: float,
        *,
        at_us: int = 1_641_168_000_000_000,
    ) -> None:
        device = self.devices[tenant][device_id]
        self.latest[tenant][device_id] = tracking_pb.LatestPosition(
            device_id=device_id,
            device_number=device.device_number,
            display_name=device.display_name,
            observed_at_us=at_us,
            received_at_us=at_us + 1_000_000,
            latitude_deg=latitude_deg,
            longitude_deg=longitude_deg,
            speed_mps=12.5,
        )

    async def called(self, method: str, *roles: Role) -> str:
        """The tenant asked for, after what every call goes through."""
        who = require(*(roles or (Role.VIEWER, Role.DISPATCHER, Role.ADMIN)))
        self.calls.append((who.subject, method))
        await asyncio.sleep(self.delay_s)
        if self.fail is not None:
            raise self.fail
        return who.tenant


def _page(items: list, size: int, token: str) -> tuple[list, str]:  # type: ignore[type-arg]
    if token and not token.isdigit():
        raise BadToken("the page token is not one of ours")
    first = int(token or 0)
    last = first + (size or 1_000)
    return items[first:last], str(last) if last < len(items) else ""


class Registry(ingest_grpc.DeviceRegistryServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    async def ProvisionDevice(self, request, context):
        tenant = await self.world.called("ProvisionDevice", Role.ADMIN)
        number = 1 + sum(len(devices) for devices in self.world.devices.values())
        device = self.world.devices[tenant].get(request.device_id) or self.world.device(
            tenant, request.device_id, number
        )
        device.display_name = request.display_name
        return ingest_pb.ProvisionDeviceResponse(device=device)

    async def GetDevice(self, request, context):
        tenant = await self.world.called("GetDevice")
        if request.device_id not in self.world.devices[tenant]:
            raise Missing(f"there is no device {request.device_id}", code="unknown_device")
        return ingest_pb.GetDeviceResponse(device=self.world.devices[tenant][request.device_id])

    async def ListDevices(self, request, context):
        tenant = await self.world.called("ListDevices")
        devices, token = _page(list(self.world.devices[tenant].values()), request.page_size, request.page_token)
        return ingest_pb.ListDevicesResponse(devices=devices, next_page_token=token)

    async def CreateCredentials(self, request, context):
        device = await self._admin_s_device("CreateCredentials", request.device_id)
        if device.credential_state != ingest_pb.CREDENTIAL_STATE_NONE:
            raise Conflict("it has some", code="credentials_exist")
        return ingest_pb.CreateCredentialsResponse(credentials=self._given(device, 0))

    async def RotateCredentials(self, request, context):
        device = await self._admin_s_device("RotateCredentials", request.device_id)
        return ingest_pb.RotateCredentialsResponse(credentials=self._given(device, request.token_lifetime_s))

    async def RevokeCredentials(self, request, context):
        device = await self._admin_s_device("RevokeCredentials", request.device_id)
        device.credential_state = ingest_pb.CREDENTIAL_STATE_REVOKED
        return ingest_pb.RevokeCredentialsResponse()

    async def _admin_s_device(self, method: str, device_id: str) -> ingest_pb.Device:
        tenant = await self.world.called(method, Role.ADMIN)
        if device_id not in self.world.devices[tenant]:
            raise Missing(f"there is no device {device_id}", code="unknown_device")
        return self.world.devices[tenant][device_id]

    def _given(self, device: ingest_pb.Device, lifetime_s: int) -> ingest_pb.DeviceCredentials:
        device.credential_state = ingest_pb.CREDENTIAL_STATE_ACTIVE
        return ingest_pb.DeviceCredentials(
            device_id=device.device_id,
            credential_number=1,
            mqtt_username=f"{device.tenant}/{device.device_id}",
            mqtt_password="secret",
            grpc_token="token",
            token_expires_at_us=1_641_168_000_000_000 + lifetime_s * 1_000_000,
        )


class DeadLetters(ingest_grpc.DeadLettersServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    def _get(self, tenant: str, number: int) -> ingest_pb.DeadLetter:
        if number not in self.world.dead_letters[tenant]:
            raise Missing("there is no such dead letter", code="unknown_dead_letter")
        return self.world.dead_letters[tenant][number]

    async def ListDeadLetters(self, request, context):
        tenant = await self.world.called("ListDeadLetters")
        letters = [
            letter for letter in self.world.dead_letters[tenant].values() if request.reason in {"", letter.reason}
        ]
        page, token = _page(letters, request.page_size, request.page_token)
        return ingest_pb.ListDeadLettersResponse(dead_letters=page, next_page_token=token)

    async def GetDeadLetter(self, request, context):
        tenant = await self.world.called("GetDeadLetter")
        return ingest_pb.GetDeadLetterResponse(dead_letter=self._get(tenant, request.dead_letter_id))

    async def ReplayDeadLetter(self, request, context):
        tenant = await self.world.called("ReplayDeadLetter", Role.ADMIN)
        self._get(tenant, request.dead_letter_id)
        return ingest_pb.ReplayDeadLetterResponse(accepted=3)


class Commands(commands_grpc.DeviceCommandsServicer):
    def __init__(self, world: World) -> None:
        self.world = world
        self.keys: dict[str, commands_pb.DeviceCommand] = {}
        self.sent: list[commands_pb.DeviceCommand] = []

    async def SendCommand(self, request, context):
        await self._of_device("SendCommand", request.device_id, Role.DISPATCHER, Role.ADMIN)
        if request.idempotency_key in self.keys:
            return commands_pb.SendCommandResponse(command=self.keys[request.idempotency_key])
        if len(self.sent) == 5:
            raise Exhausted("enough", code="too_many_open_commands")
        at_us = 1_641_168_000_000_000
        command = commands_pb.DeviceCommand(
            command_id=len(self.sent) + 1,
            device_id=request.device_id,
            name=request.name,
            parameters_json=request.parameters_json,
            payload=request.payload,
            state=commands_pb.COMMAND_STATE_QUEUED,
            created_at_us=at_us,
            expires_at_us=at_us + request.expires_in_s * 1_000_000,
        )
        self.sent.append(command)
        if request.idempotency_key:
            self.keys[request.idempotency_key] = command
        return commands_pb.SendCommandResponse(command=command, is_new=True)

    async def GetCommand(self, request, context):
        await self._of_device("GetCommand", request.device_id)
        if not 0 < request.command_id <= len(self.sent):
            raise Missing("there is no such command", code="unknown_command")
        return commands_pb.GetCommandResponse(command=self.sent[request.command_id - 1])

    async def ListCommands(self, request, context):
        await self._of_device("ListCommands", request.device_id)
        commands, token = _page(self.sent[::-1], request.page_size, request.page_token)
        return commands_pb.ListCommandsResponse(commands=commands, next_page_token=token)

    async def _of_device(self, method: str, device_id: str, *roles: Role) -> None:
        tenant = await self.world.called(method, *roles)
        if device_id not in self.world.devices[tenant]:
            raise Missing(f"there is no device {device_id}", code="unknown_device")


class Tracking(tracking_grpc.TrackingServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    async def GetLatest(self, request, context):
        tenant = await self.world.called("GetLatest")
        found = self.world.latest[tenant]
        if request.device_ids:
            return tracking_pb.GetLatestResponse(
                positions=[found[each] for each in request.device_ids if each in found]
            )
        page, token = _page(list(found.values()), request.page_size, request.page_token)
        return tracking_pb.GetLatestResponse(positions=page, next_page_token=token)

    async def GetTrack(self, request, context):
        tenant = await self.world.called("GetTrack")
        if request.device_id not in self.world.devices[tenant]:
            raise Missing(f"there is no device {request.device_id}", code="unknown_device")
        points = [
            point
            for point in self.world.tracks[tenant].get(request.device_id, [])
            if point.observed_at_us >= request.from_us
            and (not request.until_us or point.observed_at_us < request.until_us)
            and (request.all_verdicts or point.verdict == 1)
        ]
        page, token = _page(points, request.page_size, request.page_token)
        return tracking_pb.GetTrackResponse(points=page, next_page_token=token)

    async def ListEvents(self, request, context):
        tenant = await self.world.called("ListEvents")
        events = [
            event
            for event in self.world.events[tenant]
            if request.device_id in {"", event.device_id}
            and request.kind in {"", event.WhichOneof("kind")}
            and (not request.alerts_only or event.severity > 1)
            and (not request.standing_only or event.standing != Standing.STANDING_WITHDRAWN)
            and event.observed_at_us >= request.from_us
            and (not request.until_us or event.observed_at_us < request.until_us)
        ]
        page, token = _page(events, request.page_size, request.page_token)
        return tracking_pb.ListEventsResponse(events=page, next_page_token=token)

    async def Explain(self, request, context):
        tenant = await self.world.called("Explain")
        if request.device_id not in self.world.devices[tenant]:
            raise Missing(f"there is no device {request.device_id}", code="unknown_device")
        if request.fence_id not in self.world.fences[tenant]:
            raise Missing(f"there is no fence {request.fence_id}", code="unknown_fence")
        found = Explanation(
            device_id=request.device_id,
            fence_id=request.fence_id,
            fence_name="Yard",
            at_us=request.at_us,
            from_us=request.at_us - request.window_us,
            until_us=request.at_us + request.window_us,
            answer=["It counted as inside."],
            state_at=PresenceState.PRESENCE_STATE_IN,
            start_basis=StartBasis.START_BASIS_EVENT,
            versions=[ExplainedVersion(version=1, made_at_us=request.at_us, crossing=CrossingRule(exit_fixes=2))],
            fixes=[
                ExplainedFix(
                    observed_at_us=request.at_us,
                    received_at_us=request.at_us,
                    distance_m=-3.5,
                    verdict=Verdict.VERDICT_OK,
                    evidence=Evidence.EVIDENCE_IN,
                    reason=EvidenceReason.EVIDENCE_REASON_INSIDE,
                )
            ],
            events=[
                ExplainedEvent(
                    kind="geofence_entered",
                    observed_at_us=request.at_us,
                    accord=Accord.ACCORD_AGREES,
                    revisions=self.world.events[tenant],
                )
            ],
        )
        return tracking_pb.ExplainResponse(explanation=found)

    async def GetEta(self, request, context):
        tenant = await self.world.called("GetEta")
        if request.route_id not in self.world.shipments[tenant]:
            raise Missing("there is no such route", code="unknown_route")
        stop = tracking_pb.StopEta(
            stop_id="one", p10_us=10_000_000, p50_us=20_000_000, p90_us=30_000_000, remaining_m=1_000.0
        )
        return tracking_pb.GetEtaResponse(
            route_id=request.route_id, device_id="truck-1", stops=[stop], method="straight_line", reasons=["no_fix"]
        )

    async def GetAccounts(self, request, context):
        await self.world.called("GetAccounts")
        verdicts = [tracking_pb.VerdictCount(verdict=1, count=7)]
        return tracking_pb.GetAccountsResponse(
            positions_read=8, positions_stored=7, positions_repeated=1, verdicts=verdicts
        )


class Definitions(tracking_grpc.DefinitionsServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    async def PutFence(self, request, context):
        tenant = await self.world.called("PutFence", Role.DISPATCHER, Role.ADMIN)
        assert request.fence.tenant == tenant
        stored = self.world.fences[tenant].get(request.fence.fence_id)
        version = stored.version if stored else 0
        if request.HasField("expected_version") and request.expected_version != version:
            raise VersionConflict(f"the stored version is {version}, not {request.expected_version}")
        fence = Fence()
        fence.CopyFrom(request.fence)
        fence.version = version + 1
        self.world.fences[tenant][fence.fence_id] = fence
        return tracking_pb.PutFenceResponse(fence=fence)

    async def GetFence(self, request, context):
        tenant = await self.world.called("GetFence")
        if request.fence_id not in self.world.fences[tenant]:
            raise Missing("there is no such fence", code="unknown_fence")
        return tracking_pb.GetFenceResponse(fence=self.world.fences[tenant][request.fence_id])

    async def ListFences(self, request, context):
        tenant = await self.world.called("ListFences")
        page, token = _page(list(self.world.fences[tenant].values()), request.page_size, request.page_token)
        return tracking_pb.ListFencesResponse(fences=page, next_page_token=token)

    async def DeleteFence(self, request, context):
        tenant = await self.world.called("DeleteFence", Role.DISPATCHER, Role.ADMIN)
        if self.world.fences[tenant].pop(request.fence_id, None) is None:
            raise Missing("there is no such fence", code="unknown_fence")
        return tracking_pb.DeleteFenceResponse()

    async def PutProximity(self, request, context):
        tenant = await self.world.called("PutProximity", Role.DISPATCHER, Role.ADMIN)
        stored = self.world.proximities[tenant].get(request.proximity.proximity_id)
        version = stored.version if stored else 0
        if request.HasField("expected_version") and request.expected_version != version:
            raise VersionConflict(f"the stored version is {version}, not {request.expected_version}")
        proximity = Proximity()
        proximity.CopyFrom(request.proximity)
        proximity.version = version + 1
        self.world.proximities[tenant][proximity.proximity_id] = proximity
        return tracking_pb.PutProximityResponse(proximity=proximity)

    async def GetProximity(self, request, context):
        tenant = await self.world.called("GetProximity")
        if request.proximity_id not in self.world.proximities[tenant]:
            raise Missing("there is no such proximity", code="unknown_proximity")
        return tracking_pb.GetProximityResponse(proximity=self.world.proximities[tenant][request.proximity_id])

    async def ListProximities(self, request, context):
        tenant = await self.world.called("ListProximities")
        page, token = _page(list(self.world.proximities[tenant].values()), request.page_size, request.page_token)
        return tracking_pb.ListProximitiesResponse(proximities=page, next_page_token=token)

    async def DeleteProximity(self, request, context):
        tenant = await self.world.called("DeleteProximity", Role.DISPATCHER, Role.ADMIN)
        if self.world.proximities[tenant].pop(request.proximity_id, None) is None:
            raise Missing("there is no such proximity", code="unknown_proximity")
        return tracking_pb.DeleteProximityResponse()


class Shipments(shipment_grpc.ShipmentsServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    def _get(self, tenant: str, shipment_id: str) -> Shipment:
        if shipment_id not in self.world.shipments[tenant]:
            raise Missing("there is no such shipment", code="unknown_shipment")
        return self.world.shipments[tenant][shipment_id]

    async def CreateShipment(self, request, context):
        tenant = await self.world.called("CreateShipment", Role.DISPATCHER, Role.ADMIN)
        shipment = Shipment()
        shipment.CopyFrom(request.shipment)
        shipment.shipment_id = shipment.shipment_id or "made-1"
        if shipment.shipment_id in self.world.shipments[tenant]:
            raise Conflict("the shipment exists with other content", code="shipment_exists")
        shipment.tenant = tenant
        shipment.status = ShipmentStatus.SHIPMENT_STATUS_PLANNED
        shipment.created_at_us = shipment.updated_at_us = 1_641_168_000_000_000
        shipment.version = 1
        self.world.shipments[tenant][shipment.shipment_id] = shipment
        return shipment_pb.CreateShipmentResponse(shipment=shipment)

    async def GetShipment(self, request, context):
        tenant = await self.world.called("GetShipment")
        return shipment_pb.GetShipmentResponse(shipment=self._get(tenant, request.shipment_id))

    async def ListShipments(self, request, context):
        tenant = await self.world.called("ListShipments")
        found = [
            each
            for each in self.world.shipments[tenant].values()
            if (not request.statuses or each.status in request.statuses) and request.device_id in {"", each.device_id}
        ]
        page, token = _page(found, request.page_size, request.page_token)
        return shipment_pb.ListShipmentsResponse(shipments=page, next_page_token=token)

    async def CancelShipment(self, request, context):
        tenant = await self.world.called("CancelShipment", Role.DISPATCHER, Role.ADMIN)
        shipment = self._get(tenant, request.shipment_id)
        if shipment.status == ShipmentStatus.SHIPMENT_STATUS_CANCELLED:
            raise Conflict("the shipment has ended", code="shipment_ended")
        shipment.status = ShipmentStatus.SHIPMENT_STATUS_CANCELLED
        return shipment_pb.CancelShipmentResponse(shipment=shipment)


@contextlib.asynccontextmanager
async def serving(world: World, verifier: Verifier) -> AsyncIterator[str]:
    """All services on one port; gives the address."""

    def add(server) -> None:
        ingest_grpc.add_DeviceRegistryServicer_to_server(Registry(world), server)
        ingest_grpc.add_DeadLettersServicer_to_server(DeadLetters(world), server)
        commands_grpc.add_DeviceCommandsServicer_to_server(Commands(world), server)
        tracking_grpc.add_TrackingServicer_to_server(Tracking(world), server)
        tracking_grpc.add_DefinitionsServicer_to_server(Definitions(world), server)
        shipment_grpc.add_ShipmentsServicer_to_server(Shipments(world), server)

    async with GrpcServer("127.0.0.1:0", verifier, [add], grace_s=0.1) as server:
        yield f"127.0.0.1:{server.port}"
