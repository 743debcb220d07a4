"""The gRPC service: messages to commands, answers to messages, and who may ask. Nothing else."""

from __future__ import annotations

from typing import Any, Final

import grpc

from drover.api.shipment.v1 import shipment_service_pb2 as pb
from drover.api.shipment.v1.shipment_service_pb2_grpc import ShipmentsServicer, add_ShipmentsServicer_to_server
from runtime import page_token
from runtime.grpc_server import require
from runtime.problems import Forbidden
from runtime.tokens import Role
from services.shipment import handlers, wire
from services.shipment.commands import CancelShipment, GetShipment, ListShipments, PageKey
from services.shipment.model import ShipmentId
from services.shipment.ports import Ports

READERS: Final = (Role.VIEWER, Role.DISPATCHER, Role.ADMIN)
WRITERS: Final = (Role.DISPATCHER, Role.ADMIN)
DEFAULT_PAGE: Final = 100
LARGEST_PAGE: Final = 1_000

Context = grpc.aio.ServicerContext[Any, Any]


class ShipmentsApi(ShipmentsServicer):
    """`drover.api.shipment.v1.Shipments`."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def add_to(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        add_ShipmentsServicer_to_server(self, server)

    async def CreateShipment(self, request: pb.CreateShipmentRequest, context: Context) -> pb.CreateShipmentResponse:  # noqa: ARG002, N802
        """See the proto."""
        command = wire.create_command(request.shipment, _tenant(*WRITERS))
        shipment = await handlers.create_shipment(command, self._ports)
        return pb.CreateShipmentResponse(shipment=wire.to_proto(shipment))

    async def GetShipment(self, request: pb.GetShipmentRequest, context: Context) -> pb.GetShipmentResponse:  # noqa: ARG002, N802
        """See the proto."""
        command = GetShipment(_tenant(*READERS), ShipmentId(request.shipment_id))
        shipment = await handlers.get_shipment(command, self._ports)
        return pb.GetShipmentResponse(shipment=wire.to_proto(shipment))

    async def ListShipments(self, request: pb.ListShipmentsRequest, context: Context) -> pb.ListShipmentsResponse:  # noqa: ARG002, N802
        """See the proto."""
        after = page_token.decode("shipments", request.page_token, int, str)
        command = ListShipments(
            tenant=_tenant(*READERS),
            statuses=wire.statuses_of(request),
            device_id=request.device_id,
            after=PageKey(*after) if after else None,
            limit=min(request.page_size or DEFAULT_PAGE, LARGEST_PAGE),
        )
        found = await handlers.list_shipments(command, self._ports)
        token = ""
        if len(found) == command.limit:
            token = page_token.encode("shipments", (found[-1].created_at_us, found[-1].shipment_id))
        return pb.ListShipmentsResponse(shipments=[wire.to_proto(each) for each in found], next_page_token=token)

    async def CancelShipment(self, request: pb.CancelShipmentRequest, context: Context) -> pb.CancelShipmentResponse:  # noqa: ARG002, N802
        """See the proto."""
        command = CancelShipment(_tenant(*WRITERS), ShipmentId(request.shipment_id), request.reason)
        shipment = await handlers.cancel_shipment(command, self._ports)
        return pb.CancelShipmentResponse(shipment=wire.to_proto(shipment))


def _tenant(*roles: Role) -> str:
    tenant = require(*roles).tenant
    if not tenant:
        raise Forbidden("the call names no tenant to act for", code="tenant_missing")
    return tenant
