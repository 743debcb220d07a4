"""The services behind the gateway, and how they are called."""

from __future__ import annotations

from typing import Self, TypeVar

import grpc

from drover.api.ingest.v1.device_commands_pb2_grpc import DeviceCommandsStub
from drover.api.ingest.v1.ingest_service_pb2_grpc import DeadLettersStub, DeviceRegistryStub
from drover.api.shipment.v1.shipment_service_pb2_grpc import ShipmentsStub
from drover.api.tracking.v1.tracking_service_pb2_grpc import DefinitionsStub, TrackingStub
from gateway.problems import from_rpc
from gateway.settings import GatewaySettings
from runtime.grpc_client import ServiceCalls, channel, metadata
from runtime.tokens import Issuer, ServiceToken

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Metadata = tuple[tuple[str, str], ...]


class Upstream:
    """Stubs of all services, over one channel each. An async context: leaving it closes the channels."""

    def __init__(self, settings: GatewaySettings, issuer: Issuer) -> None:
        self._timeout_s = settings.call_timeout_s
        self._channels = [
            channel(address)
            for address in (settings.ingest_address, settings.tracking_address, settings.shipment_address)
        ]
        ingest, tracking, shipment = self._channels
        self.registry = DeviceRegistryStub(ingest)
        self.commands = DeviceCommandsStub(ingest)
        self.dead_letters = DeadLettersStub(ingest)
        self.tracking = TrackingStub(tracking)
        self.definitions = DefinitionsStub(tracking)
        self.shipments = ShipmentsStub(shipment)
        self.as_service = ServiceCalls(ServiceToken(issuer, "gateway"))
        """The metadata of a call of the gateway's own, for a tenant."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for link in self._channels:
            await link.close()

    async def call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Answer], request: Request, credentials: str | Metadata
    ) -> Answer:
        """Asks a service. `credentials` is the caller's own token, passed on so that the service checks it too, or the
        metadata of `as_service`. Raises Problem.
        """
        pairs = metadata(credentials) if isinstance(credentials, str) else credentials
        try:
            return await method(request, metadata=pairs, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error

    async def tracking_wrong(self) -> str | None:
        """What is wrong with the way to the tracking service, for /readyz."""
        link = self._channels[1]
        state = link.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                return "the tracking service does not answer"
            await link.wait_for_state_change(state)
            state = link.get_state(try_to_connect=True)
        return None
