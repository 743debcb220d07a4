"""The tracking service's port for definitions, faked behind a real gRPC server, with its rules about versions."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from drover.api.tracking.v1 import tracking_service_pb2 as pb
from drover.api.tracking.v1.tracking_service_pb2_grpc import DefinitionsServicer, add_DefinitionsServicer_to_server
from runtime.grpc_server import GrpcServer, caller
from runtime.problems import Conflict, NotFound, Problem
from runtime.tokens import Role, Verifier


class FakeTracking(DefinitionsServicer):
    """Keeps what is defined by tenant, kind and id; raises the next of `problems` instead, while there are any."""

    def __init__(self) -> None:
        self.defined: dict[tuple[str, str, str], Any] = {}
        self.calls: list[tuple[str, str]] = []
        self.problems: list[Problem] = []

    def ids(self, kind: str) -> set[str]:
        return {definition_id for _, each, definition_id in self.defined if each == kind}

    def _put(self, kind: str, definition_id: str, definition: Any, *, may_exist: bool = True) -> Any:
        self._called(f"put {kind}", definition_id)
        key = (caller().tenant, kind, definition_id)
        if not may_exist and key in self.defined:
            raise Conflict("it exists", code="version_conflict")
        self.defined[key] = definition
        return definition

    def _delete(self, kind: str, definition_id: str) -> None:
        self._called(f"delete {kind}", definition_id)
        if self.defined.pop((caller().tenant, kind, definition_id), None) is None:
            raise NotFound("there is none", code=f"unknown_{kind}")

    def _called(self, what: str, definition_id: str) -> None:
        assert caller().role is Role.SERVICE
        self.calls.append((what, definition_id))
        if self.problems:
            raise self.problems.pop(0)

    async def PutFence(self, request: pb.PutFenceRequest, context: Any) -> pb.PutFenceResponse:  # noqa: N802
        may_exist = not request.HasField("expected_version")
        return pb.PutFenceResponse(fence=self._put("fence", request.fence.fence_id, request.fence, may_exist=may_exist))

    async def PutSensorLimit(self, request: pb.PutSensorLimitRequest, context: Any) -> pb.PutSensorLimitResponse:  # noqa: N802
        return pb.PutSensorLimitResponse(limit=self._put("limit", request.limit.limit_id, request.limit))

    async def PutRoute(self, request: pb.PutRouteRequest, context: Any) -> pb.PutRouteResponse:  # noqa: N802
        return pb.PutRouteResponse(route=self._put("route", request.route.route_id, request.route))

    async def DeleteFence(self, request: pb.DeleteFenceRequest, context: Any) -> pb.DeleteFenceResponse:  # noqa: N802
        self._delete("fence", request.fence_id)
        return pb.DeleteFenceResponse()

    async def DeleteSensorLimit(  # noqa: N802
        self, request: pb.DeleteSensorLimitRequest, context: Any
    ) -> pb.DeleteSensorLimitResponse:
        self._delete("limit", request.limit_id)
        return pb.DeleteSensorLimitResponse()

    async def DeleteRoute(self, request: pb.DeleteRouteRequest, context: Any) -> pb.DeleteRouteResponse:  # noqa: N802
        self._delete("route", request.route_id)
        return pb.DeleteRouteResponse()


@contextlib.asynccontextmanager
async def serving(tracking: FakeTracking, verifier: Verifier, port: int = 0) -> AsyncIterator[int]:
    """Serves it; gives the port."""
    add = [lambda server: add_DefinitionsServicer_to_server(tracking, server)]
    async with GrpcServer(f"127.0.0.1:{port}", verifier, add, grace_s=0.1) as server:
        yield server.port
