"""The WebSocket endpoint /v1/live: one client's connection, from handshake to goodbye (docs/live-protocol.md)."""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from typing import Final, NamedTuple

import pydantic
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway import metrics
from gateway.auth import READERS, Session, bearer_token, check_role
from gateway.live.client import Client
from gateway.live.hub import Hub
from gateway.live.rate_limit import RateLimit
from gateway.live.requests import subscription_of
from gateway.live.subscription import PingMessage, parse_message
from gateway.live.websocket_protocol import Flow, flow_of
from gateway.problems import OriginNotAllowed, answer, details_of, message_problem
from gateway.settings import GatewaySettings
from gateway.upstream import Upstream
from runtime.problems import Problem
from runtime.tokens import Verifier

PROTOCOL: Final = "drover.live.v1"
_BEARER: Final = "bearer."
_CLOSE_SECONDS: Final = 1.0


class _Goodbye(NamedTuple):
    """How a connection ends: a close code of RFC 6455 or 4401; code 0 for one that is gone or was cut."""

    code: int
    reason: str


class LiveEndpoint:
    """Serves connections."""

    def __init__(self, settings: GatewaySettings, verifier: Verifier, hub: Hub, upstream: Upstream) -> None:
        self._settings = settings
        self._verifier = verifier
        self._hub = hub
        self._upstream = upstream

    async def serve(self, websocket: WebSocket) -> None:
        """One connection."""
        offered: list[str] = websocket.scope.get("subprotocols", [])
        in_subprotocol = next((each[len(_BEARER) :] for each in offered if each.startswith(_BEARER)), None)
        protocol = PROTOCOL if PROTOCOL in offered else None
        try:
            self._check_origin(websocket)
            token = in_subprotocol or bearer_token(websocket.headers.get("authorization"))
            session = Session(self._verifier.verify(token), token)
            check_role(session.caller, READERS)
        except Problem as problem:
            await websocket.send_denial_response(answer(problem, websocket.url.path))
            return
        await websocket.accept(protocol)
        if self._hub.client_count >= self._settings.max_clients:
            metrics.CLIENTS_CUT.labels("too_many").inc()
            await websocket.close(1013, "too many clients; try later")
            return
        flow = flow_of(websocket.scope)
        if flow is not None:
            flow.limit(self._settings.write_buffer_bytes)
        client = self._hub.join(session.caller.tenant)
        client.outlet = flow
        try:
            goodbye = await self._serve(websocket, client, session, flow)
        finally:
            self._hub.leave(client)
        if goodbye.code and websocket.client_state is WebSocketState.CONNECTED:
            if flow is None or await flow.drained(_CLOSE_SECONDS):
                await websocket.close(goodbye.code, goodbye.reason)
            else:
                flow.cut()

    def _check_origin(self, websocket: WebSocket) -> None:
        """A browser names the origin of the page: ours, or one that was allowed. Others send none."""
        origin = websocket.headers.get("origin")
        if origin is None or origin in self._settings.allowed_origins:
            return
        if urllib.parse.urlsplit(origin).netloc.lower() != websocket.headers.get("host", "").lower():
            raise OriginNotAllowed(f"pages of {origin[:200]} may not connect")

    async def _serve(self, websocket: WebSocket, client: Client, session: Session, flow: Flow | None) -> _Goodbye:
        """Reads and writes until one of them, the clock or the hub ends it."""
        tasks = [
            asyncio.create_task(work)
            for work in (
                self._read(websocket, client, session),
                self._write(websocket, client, flow),
                self._expire(session),
                self._stop(),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(task for task in tasks if task in done).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _expire(self, session: Session) -> _Goodbye:
        await asyncio.sleep(max(0.0, session.caller.expires_at_s - time.time()))
        return _Goodbye(4401, "the token has expired")

    async def _stop(self) -> _Goodbye:
        await self._hub.stopping.wait()
        return _Goodbye(1001, "the gateway stops")

    async def _read(self, websocket: WebSocket, client: Client, session: Session) -> _Goodbye:
        limit = RateLimit(self._settings.messages_per_s, burst=2 * self._settings.messages_per_s)
        while True:
            received = await websocket.receive()
            if received["type"] == "websocket.disconnect":
                return _Goodbye(0, "gone")
            if not limit.allows(time.monotonic()):
                metrics.CLIENTS_CUT.labels("too_many_messages").inc()
                return _Goodbye(1008, "too many messages")
            try:
                message = parse_message(received.get("text") or received.get("bytes") or "")
            except pydantic.ValidationError as error:
                await client.reply({"type": "error", "problem": message_problem(error)})
                continue
            if isinstance(message, PingMessage):
                await client.reply({"type": "pong"})
                continue
            try:
                subscription = await subscription_of(
                    message, client.tenant, session, self._hub, self._upstream, self._settings.max_devices
                )
            except Problem as problem:
                await client.reply({"type": "error", "problem": details_of(problem)})
                continue
            resume = None
            if message.resume is not None and message.sequence is not None:
                resume = (message.resume, message.sequence)
            client.subscribe(subscription, resume)
            await client.reply({"type": "subscribed", "resume": client.resume_token()})

    async def _write(self, websocket: WebSocket, client: Client, flow: Flow | None) -> _Goodbye:
        async def drained() -> None:
            if flow is not None and not await flow.drained(self._settings.stall_timeout_s):
                raise TimeoutError

        async def send(message: str | bytes) -> None:
            await drained()
            if flow is not None:
                if not flow.send(message):
                    raise WebSocketDisconnect
            elif isinstance(message, str):
                await websocket.send_text(message)
            else:
                await websocket.send_bytes(message)
            metrics.BYTES_SENT.inc(len(message))

        try:
            while True:
                client.is_resting = True
                await client.wake.wait()
                client.is_resting = False
                client.wake.clear()
                while not client.replies.empty():
                    await send(client.replies.get_nowait())
                while (event := client.next_event()) is not None:
                    await send(event)
                    metrics.EVENTS_SENT.inc()
                await drained()  # before the frame is made: it shall show the present
                found = client.next_frame()
                if found is not None:
                    names, frame = found
                    if names is not None:
                        await send(names)
                    await send(frame.data)
                    metrics.FRAMES_SENT.labels(frame.kind.name.lower()).inc()
                    metrics.POSITIONS_SENT.inc(len(frame.rows))
        except TimeoutError:
            metrics.CLIENTS_CUT.labels("stalled").inc()
            assert flow is not None
            flow.cut()
            return _Goodbye(0, "cut")
        except WebSocketDisconnect:
            return _Goodbye(0, "gone")
