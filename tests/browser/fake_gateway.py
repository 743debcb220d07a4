"""A gateway made of a few lines, for the page alone: the real frames, JSON and fence rules, over a made-up fleet."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from drover.tracking.v1.event_pb2 import TrackingEvent
from gateway import json_view
from gateway.live.frames import Kind, pack
from gateway.live.subscription import SubscribeMessage, parse_message, viewport
from gateway.security_headers import SecurityHeaders
from geofence.geojson import from_feature, to_feature
from geofence.validation import InvalidFence
from tests.browser.world import World

PAGE: Final = pathlib.Path(__file__).resolve().parents[2] / "gateway" / "live_map" / "dist"


def token(role: str = "dispatcher") -> str:
    """Reads as a token; the fake verifies nothing."""

    def part(claims: dict[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part({'tenant': 'demo', 'role': role})}.c2lnbmF0dXJl"


class FakeGateway:
    """Serves on a free port in a thread of its own. Its fields may be set from the test; methods are thread-safe."""

    def __init__(self, world: World, *, demo: bool = True, fix_every_s: float = 1.0) -> None:
        self.world = world
        self.demo = demo
        self.fix_every_s = fix_every_s
        self.moving = True
        self.accepts_token = True
        self.map_settings: dict[str, Any] = {"tile_url": None, "attribution": ""}
        self.fences: dict[str, dict[str, Any]] = {}
        self.explanations: dict[str, list[str]] = {}
        """Answers by fence."""
        self.events: list[TrackingEvent] = []
        self.shipments: list[dict[str, Any]] = []
        self.etas: dict[str, dict[str, Any]] = {}
        self.subscriptions: list[SubscribeMessage] = []
        self.requests: list[str] = []
        self.refuse_sockets = False
        self._sequence = 0
        self._sockets: set[WebSocket] = set()
        self._shown: dict[WebSocket, SubscribeMessage] = {}
        app = Starlette(
            routes=[
                Route("/v1/demo-session", self._demo_session),
                Route("/v1/map-settings", self._map_settings),
                Route("/v1/geofences", self._geofences, methods=["GET", "POST"]),
                Route("/v1/geofences/{fence_id}", self._geofence, methods=["GET", "PUT", "DELETE"]),
                Route("/v1/events", self._list_events),
                Route("/v1/shipments", self._list_shipments),
                Route("/v1/shipments/{shipment_id}/eta", self._eta),
                Route("/v1/devices/{device_id}/position", self._position),
                Route("/v1/devices/{device_id}/track", self._track),
                Route("/v1/devices/{device_id}/explain", self._explain),
                WebSocketRoute("/v1/live", self._live),
                Mount("/", StaticFiles(directory=PAGE, html=True)),
            ]
        )
        # The real headers: a page that breaks its own content security policy must fail here.
        self._server = uvicorn.Server(
            uvicorn.Config(SecurityHeaders(app, None), port=0, log_level="warning", ws="websockets-sansio")
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[FakeGateway]:
        """Started, and stopped at the end."""
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._server.should_exit = True
            self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def publish(self, event: TrackingEvent, *, alert: bool = True) -> None:
        """Keeps an event and tells everyone connected."""
        self.events.insert(0, event)
        self._call(self._broadcast({"type": "event", "alert": alert, "event": json_view.event(event)}))

    def tell(self, message: dict[str, Any]) -> None:
        """Sends a text message to everyone connected."""
        self._call(self._broadcast(message))

    def drop_connections(self, code: int = 1011) -> None:
        """Closes every socket."""

        async def close() -> None:
            for websocket in list(self._sockets):
                await websocket.close(code)

        self._call(close())

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            ticking = asyncio.create_task(self._tick())
            await self._server.serve()
            ticking.cancel()

        asyncio.run(serve())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.fix_every_s)
            self._sequence += 1
            if self.moving:
                self.world.advance(self.fix_every_s)
                loud = np.array([truck.silent_s == 0.0 for truck in self.world.trucks])
                for websocket in list(self._shown):
                    await self._send(websocket, self._frame(Kind.DIFFERENCE, self._shown[websocket], loud))

    async def _broadcast(self, message: dict[str, Any]) -> None:
        for websocket in list(self._shown):
            await self._send(websocket, json.dumps(message))

    async def _send(self, websocket: WebSocket, message: str | bytes) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            if isinstance(message, str):
                await websocket.send_text(message)
            else:
                await websocket.send_bytes(message)

    def _frame(self, kind: Kind, subscription: SubscribeMessage, wanted: npt.NDArray[np.bool_] | None = None) -> bytes:
        now_us = time.time_ns() // 1000
        fixes = self.world.fixes(now_us)
        mask = np.full(len(self.world.trucks), fill_value=True) if wanted is None else wanted.copy()
        removed = np.empty(0, np.uint32)
        if subscription.viewport is not None:
            inside = viewport(*subscription.viewport).contains(fixes.longitude_deg, fixes.latitude_deg)
            removed = self.world.device_number[mask & ~inside] if kind is Kind.DIFFERENCE else removed
            mask &= inside
        return pack(kind, self._sequence, now_us, np.flatnonzero(mask), self.world.device_number, fixes, removed)

    async def _live(self, websocket: WebSocket) -> None:
        if self.refuse_sockets:
            await websocket.close()
            return
        await websocket.accept("drover.live.v1")
        if not self.accepts_token:
            await websocket.close(4401, "the token has expired")
            return
        self._sockets.add(websocket)
        try:
            while True:
                message = parse_message(await websocket.receive_text())
                if not isinstance(message, SubscribeMessage):
                    await websocket.send_text('{"type": "pong"}')
                    continue
                self.subscriptions.append(message)
                await websocket.send_text(json.dumps({"type": "subscribed", "resume": "fake.1"}))
                names = [
                    {"device_number": truck.number, "device_id": truck.device_id, "display_name": truck.name}
                    for truck in self.world.trucks
                ]
                await websocket.send_text(json.dumps({"type": "names", "devices": names}))
                self._shown[websocket] = message
                if message.resume is None:
                    await websocket.send_bytes(self._frame(Kind.SNAPSHOT, message))
        except WebSocketDisconnect:
            pass
        finally:
            self._sockets.discard(websocket)
            self._shown.pop(websocket, None)

    def _refused(self, request: Request) -> Response | None:
        self.requests.append(f"{request.method} {request.url.path}")
        if self.accepts_token and request.headers.get("authorization", "").startswith("Bearer ey"):
            return None
        return problem(401, "Unauthorized", "the token has expired")

    async def _demo_session(self, _: Request) -> Response:
        if not self.demo:
            return problem(404, "Not Found", "there is no demo session here")
        self.accepts_token = True
        return JSONResponse({"token": token(), "tenant": "demo", "role": "dispatcher"})

    async def _map_settings(self, _: Request) -> Response:
        return JSONResponse(self.map_settings)

    async def _geofences(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        if request.method == "GET":
            features = list(self.fences.values())
            return JSONResponse({"type": "FeatureCollection", "features": features, "next_cursor": None})
        return await self._put_fence(None, await request.json(), 1)

    async def _geofence(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        fence_id = request.path_params["fence_id"]
        known = self.fences.get(fence_id)
        if known is None:
            return problem(404, "Not Found", f"no fence {fence_id}")
        if request.method == "GET":
            return JSONResponse(known)
        if request.method == "DELETE":
            del self.fences[fence_id]
            await self._broadcast({"type": "definition_changed", "kind": "fence", "id": fence_id})
            return Response(status_code=204)
        version = known["properties"]["version"]
        if request.headers.get("if-match") != f'"{version}"':
            return problem(412, "Precondition Failed", f"the fence is at version {version}")
        return await self._put_fence(fence_id, await request.json(), version + 1)

    async def _put_fence(self, fence_id: str | None, feature: Any, version: int) -> Response:
        try:
            stored = to_feature(from_feature(feature, "demo", fence_id=fence_id, version=version))
        except InvalidFence as error:
            return problem(422, "Unprocessable Content", str(error))
        self.fences[stored["id"]] = stored
        await self._broadcast({"type": "definition_changed", "kind": "fence", "id": stored["id"]})
        return JSONResponse(stored, 201 if version == 1 else 200)

    async def _list_events(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        chosen = [json_view.event(event) for event in self.events]
        if request.query_params.get("alerts") == "true":
            chosen = [event for event in chosen if event["alert"]]
        return JSONResponse({"items": chosen[: int(request.query_params["limit"])], "next_cursor": None})

    async def _list_shipments(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        device_id = request.query_params["device_id"]
        items = [shipment for shipment in self.shipments if shipment["device_id"] == device_id]
        return JSONResponse({"items": items, "next_cursor": None})

    async def _eta(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        found = self.etas.get(request.path_params["shipment_id"])
        return JSONResponse(found) if found else problem(404, "Not Found", "no arrival time")

    async def _position(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        truck = next(truck for truck in self.world.trucks if truck.device_id == request.path_params["device_id"])
        point = {"type": "Point", "coordinates": [truck.longitude_deg, truck.latitude_deg]}
        inside = list(self.fences)[:1] if truck.number % 3 == 0 else []
        properties = {"display_name": truck.name, "inside_fence_ids": inside}
        return JSONResponse({"type": "Feature", "id": truck.device_id, "geometry": point, "properties": properties})

    async def _track(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        truck = next(truck for truck in self.world.trucks if truck.device_id == request.path_params["device_id"])
        now_us = time.time_ns() // 1000 - int(truck.silent_s * 1e6)
        passed = World(len(self.world.trucks)).trucks[truck.number - 1]
        passed.ends, passed.at_m = truck.ends, max(0.0, truck.at_m - truck.speed_mps * 1800)
        passed.advance(0.0)
        points, times = [], []
        while passed.ends == truck.ends and passed.at_m < truck.at_m:
            points.append([passed.longitude_deg, passed.latitude_deg])
            times.append(json_view.time_text(now_us - int((truck.at_m - passed.at_m) / truck.speed_mps * 1e6)))
            passed.advance(10.0)
        geometry = {"type": "LineString", "coordinates": points} if len(points) > 1 else None
        properties = {"device_id": truck.device_id, "times": times if geometry else [], "next_cursor": None}
        return JSONResponse({"type": "Feature", "id": truck.device_id, "geometry": geometry, "properties": properties})

    async def _explain(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        said = self.explanations.get(request.query_params["fence"])
        if said is None:
            return problem(404, "Not Found", "there is no such fence")
        at = f"{request.path_params['device_id']} at {request.query_params['at']}"
        return JSONResponse({"answer": [at, *said]})


def problem(status: int, title: str, detail: str) -> Response:
    """A problem document (RFC 9457)."""
    return JSONResponse(
        {"title": title, "status": status, "detail": detail}, status, media_type="application/problem+json"
    )


def in_minutes(minutes: float) -> str:
    """A time from now, as REST writes it."""
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
