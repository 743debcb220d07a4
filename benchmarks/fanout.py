"""Positions delivered to WebSocket clients, the gateway's live view beside a plain JSON broadcast loop.

mixed_viewports: 1,000 clients look at parts of a fleet of 10,000 devices, all of which move all the time; each client
is to see the devices in its viewport and no others. Ours is the gateway's own hub and socket on uvicorn; what is left
out is Redis: live frames are handed to the hub as they would come from there. The peer is what one writes first: a
loop over the clients, a list comprehension over the fleet, `json.dumps`, `await send`, on the `websockets` server
without compression.

Both run as fast as they can. The server has one process, all clients another, on the same machine; the clients do as
little as they can (find the frames, count the positions). Counted are positions of devices that the client asked for,
so a peer that sends everything to everybody would gain nothing. The clock runs after everyone is connected and served.
Checked: every client counts what it should have on its screen at the end, and twenty of them fold all they got and
must show exactly the fleet's last positions within their viewport.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import multiprocessing.connection
import pathlib
import resource
import statistics
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import uvloop
import websockets
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.report import Options, Result, main, progress, spread_of
from drover.api.tracking.v1.tracking_service_pb2 import GetLatestResponse, LatestPosition
from gateway.__main__ import serving_options
from gateway.app import create_app
from gateway.live.frames import Kind, unpack
from gateway.live.hub import Hub
from gateway.settings import GatewaySettings
from gateway.warm_up import warm_up
from runtime import http_server
from runtime.garbage_collection import calm_collector
from runtime.tokens import Role, load_or_create_keys
from tracking_core.live_frame import LiveColumns, pack

T0: Final = 1_641_168_000_000_000
FOLDED: Final = 20
HEADER_BYTES: Final = 40


class View(NamedTuple):
    west: float
    south: float
    east: float
    north: float


class Scale(NamedTuple):
    clients: int
    devices: int
    seconds: float
    pairs: int


FULL: Final = Scale(1_000, 10_000, 6.0, 3)
# Fewer clients would be served as often as the shortest frame interval allows, and measure that.
QUICK: Final = Scale(600, 6_000, 1.5, 1)


def views(count: int) -> list[View]:
    """Six in ten see a town (0.6 % of the fleet), three a region (3 %), most others a country (15 %), some all."""
    random = np.random.default_rng(7)
    shares = random.choice([0.006, 0.03, 0.15, 1.0], count, p=[0.6, 0.3, 0.09, 0.01])
    found = []
    for share in shares.tolist():
        width, height = 10.0 * share**0.5, 8.0 * share**0.5
        west, south = 5.0 + random.random() * (10.0 - width), 47.0 + random.random() * (8.0 - height)
        found.append(View(west, south, west + width, south + height))
    return found


class Moves:
    """Where every device is at each step: on a small circle around its home, so that some cross every edge."""

    def __init__(self, devices: int) -> None:
        random = np.random.default_rng(11)
        self.home_longitude_deg = 5.0 + 10.0 * random.random(devices)
        self.home_latitude_deg = 47.0 + 8.0 * random.random(devices)
        self.phase = random.random(devices) * 6.28

    def at(self, step: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        angle = self.phase + step / 10
        return self.home_longitude_deg + 0.05 * np.cos(angle), self.home_latitude_deg + 0.05 * np.sin(angle)

    def seen(self, step: int, view: View) -> dict[int, tuple[float, float]]:
        """What a client must show at the end: place by device number."""
        longitude, latitude = self.at(step)
        inside = (longitude >= view.west) & (longitude <= view.east)
        inside &= (latitude >= view.south) & (latitude <= view.north)
        rows = np.flatnonzero(inside).tolist()
        return {row + 1: (float(longitude[row]), float(latitude[row])) for row in rows}


# The servers: each runs in a process of its own, and is told `go`, `stop` (the fleet stands still) and `leave`.


class Control:
    """A server's end of the pipe."""

    def __init__(self, pipe: multiprocessing.connection.Connection) -> None:
        self._pipe = pipe
        self.going = asyncio.Event()
        self.stopping = asyncio.Event()
        self.leaving = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._told)

    def _told(self) -> None:
        try:
            word = self._pipe.recv()
        except EOFError:
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            word = "leave"
        self.going.set()
        if word != "go":
            self.stopping.set()
        if word == "leave":
            self.leaving.set()

    def tell(self, message: object) -> None:
        self._pipe.send(message)


async def gateway_server(control: Control, devices: int) -> None:
    """The gateway's hub, socket and server; the tracking service is a list of positions."""
    moves = Moves(devices)

    async def latest(*_: object) -> GetLatestResponse:
        longitude, latitude = moves.at(0)
        places = enumerate(zip(longitude.tolist(), latitude.tolist(), strict=True), 1)
        return GetLatestResponse(
            positions=[
                LatestPosition(
                    device_id=f"truck-{number}",
                    device_number=number,
                    observed_at_us=T0,
                    longitude_deg=x,
                    latitude_deg=y,
                )
                for number, (x, y) in places
            ]
        )

    upstream: Any = SimpleNamespace(
        call=latest, tracking=SimpleNamespace(GetLatest=None), as_service=lambda _: (), tracking_wrong=None
    )
    settings = GatewaySettings(frame_interval_s=0.02, frame_time_share=1.0)
    warm_up()
    with tempfile.TemporaryDirectory() as folder:
        keys = load_or_create_keys(pathlib.Path(folder))
    hub = Hub(settings, None, upstream)
    app = create_app(settings, keys, upstream, hub, {})
    numbers = np.arange(1, devices + 1, dtype=np.uint32)
    unknown = np.full(devices, np.nan, np.float32)
    step = 0

    async def feed() -> None:
        nonlocal step
        while not control.stopping.is_set():
            step += 1
            longitude, latitude = moves.at(step)
            times = np.full(devices, T0 + step, np.int64)
            columns = LiveColumns(numbers, times, times, latitude, longitude, unknown, unknown, unknown)
            hub.hear("drover.live.0", pack(columns))
            await asyncio.sleep(settings.frame_interval_s)

    async with hub.running(), http_server.serving(app, "127.0.0.1", 0, **serving_options(settings)) as port:
        calm_collector()
        control.tell((port, keys.issuer.issue("benchmark", "acme", Role.VIEWER, 600.0)))
        await control.going.wait()
        await feed()
        control.tell(step)
        await control.leaving.wait()


async def plain_server(control: Control, devices: int) -> None:
    """The peer."""
    moves = Moves(devices)
    positions = [
        {
            "device_number": number,
            "device_id": f"truck-{number}",
            "observed_at_us": T0,
            "longitude_deg": 0.0,
            "latitude_deg": 0.0,
        }
        for number in range(1, devices + 1)
    ]
    clients: dict[ServerConnection, list[float]] = {}

    async def client(socket: ServerConnection) -> None:
        try:
            clients[socket] = json.loads(await socket.recv())["viewport"]
            await socket.wait_closed()
        finally:
            clients.pop(socket, None)

    async with serve(client, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        control.tell((next(iter(server.sockets)).getsockname()[1], ""))
        step = 0
        await control.going.wait()
        while not control.stopping.is_set():
            step += 1
            longitude, latitude = moves.at(step)
            for position, x, y in zip(positions, longitude.tolist(), latitude.tolist(), strict=True):
                position["observed_at_us"] = T0 + step
                position["longitude_deg"] = x
                position["latitude_deg"] = y
            for socket, (west, south, east, north) in list(clients.items()):
                inside = [
                    position
                    for position in positions
                    if west <= position["longitude_deg"] <= east and south <= position["latitude_deg"] <= north  # type: ignore[operator]
                ]
                with contextlib.suppress(websockets.ConnectionClosed):
                    await socket.send(json.dumps({"type": "positions", "positions": inside}))
            await asyncio.sleep(0)
        control.tell(step)
        await control.leaving.wait()


def server_process(kind: str, devices: int, pipe: multiprocessing.connection.Connection) -> None:
    async def run() -> None:
        await (gateway_server if kind == "ours" else plain_server)(Control(pipe), devices)

    raise_file_limit()
    uvloop.run(run())


# The clients: all in this process.


class Client(asyncio.Protocol):
    """A WebSocket client that finds frames and counts positions. RFC 6455, section 5.2; no fragments are expected."""

    def __init__(self, view: View, token: str, *, keeps: bool) -> None:
        self.view = view
        self.positions = 0
        self.frames = 0
        self.last_count = -1
        self.kept: list[bytes] | None = [] if keeps else None
        self._token = token
        self._buffer = bytearray()
        self.open = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        protocol = f"Sec-WebSocket-Protocol: drover.live.v1, bearer.{self._token}\r\n" if self._token else ""
        transport.write(
            f"GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self.open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(bytes(buffer[:200]))
            del buffer[: end + 4]
            self.open = True
            self._say({"type": "subscribe", "viewport": self.view, "events": "none"})
        while len(buffer) >= 2:
            length, start = buffer[1] & 127, 2
            if length == 126:
                length, start = int.from_bytes(buffer[2:4], "big"), 4
            elif length == 127:
                length, start = int.from_bytes(buffer[2:10], "big"), 10
            if len(buffer) < start + length:
                return
            self._frame(buffer[0] & 15, start, length)
            del buffer[: start + length]

    def _say(self, message: dict[str, object]) -> None:
        text = json.dumps(message).encode()
        self.transport.write(b"\x81" + bytes([128 | 126]) + struct.pack(">H", len(text)) + bytes(4) + text)

    def _frame(self, code: int, start: int, length: int) -> None:
        if code == 2:
            self.last_count = int.from_bytes(self._buffer[start + 8 : start + 12], "little")
        elif code == 1 and self._buffer.startswith(b'{"type": "positions"', start):
            self.last_count = self._buffer.count(b'"device_number"', start, start + length)
        else:
            return
        self.positions += self.last_count
        self.frames += 1
        if self.kept is not None:
            self.kept.append(bytes(self._buffer[start : start + length]))

    def shown(self) -> dict[int, tuple[float, float]]:
        """What all frames together show."""
        assert self.kept is not None
        shown: dict[int, tuple[float, float]] = {}
        for payload in self.kept:
            if payload.startswith(b"{"):
                found = json.loads(payload)["positions"]
                shown = {each["device_number"]: (each["longitude_deg"], each["latitude_deg"]) for each in found}
                continue
            frame = unpack(payload)
            if frame.kind is Kind.SNAPSHOT:
                shown.clear()
            for number in frame.removed.tolist():
                del shown[number]
            places = zip(frame.longitude_deg.tolist(), frame.latitude_deg.tolist(), strict=True)
            shown.update(zip(frame.device_number.tolist(), places, strict=True))
        return shown


class Run(NamedTuple):
    """Positions and frames delivered a second, and whether every screen was right."""

    positions_per_s: float
    frames_per_s: float
    checked: bool


@contextlib.contextmanager
def server(kind: str, devices: int) -> Iterator[multiprocessing.connection.Connection]:
    """A running server's pipe."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=server_process, args=(kind, devices, its), daemon=True)
    process.start()
    its.close()
    try:
        yield ours
    finally:
        with contextlib.suppress(OSError):
            ours.send("leave")
        process.join(20)
        if process.is_alive():
            process.kill()


async def doze() -> None:
    """Lets clients look at their sockets once in 5 ms. Waking a process for every write costs a virtual machine more
    than the write, and is not what is measured: real clients are elsewhere.
    """
    while True:
        time.sleep(0.005)  # noqa: ASYNC251 - the whole process shall sleep
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def connected(port: int, token: str, scale: Scale) -> AsyncIterator[list[Client]]:
    """All clients, connected and subscribed."""
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    try:
        for number, view in enumerate(views(scale.clients)):
            made = Client(view, token, keeps=number % (scale.clients // FOLDED) == 0)
            await loop.create_connection(lambda made=made: made, "127.0.0.1", port)  # type: ignore[misc]
            clients.append(made)
        async with asyncio.timeout(120):
            while not all(client.open for client in clients):  # noqa: ASYNC110 - polled, to be cheap
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)  # the last subscriptions are read
        dozing = asyncio.create_task(doze())
        yield clients
        dozing.cancel()
    finally:
        for client in clients:
            client.transport.close()


async def measure(kind: str, scale: Scale) -> Run:
    with server(kind, scale.devices) as pipe:
        port, token = await asyncio.to_thread(pipe.recv)
        async with connected(port, token, scale) as clients:
            pipe.send("go")
            async with asyncio.timeout(60):
                while any(client.frames < 2 for client in clients):  # noqa: ASYNC110 - polled, to be cheap
                    await asyncio.sleep(0.1)
            positions, frames, start = (
                sum(c.positions for c in clients),
                sum(c.frames for c in clients),
                time.perf_counter(),
            )
            await asyncio.sleep(scale.seconds)
            took_s = time.perf_counter() - start
            positions = sum(client.positions for client in clients) - positions
            frames = sum(client.frames for client in clients) - frames
            pipe.send("stop")
            step = await asyncio.to_thread(pipe.recv)
            await settled(clients)
            return Run(positions / took_s, frames / took_s, right(clients, Moves(scale.devices), step))


async def settled(clients: list[Client]) -> None:
    """Until nothing comes any more."""
    before = -1
    while (now := sum(client.frames for client in clients)) != before:
        before = now
        await asyncio.sleep(2.0)


def right(clients: list[Client], moves: Moves, step: int) -> bool:
    """Whether the last frame of each client, in which everything moved, has as many positions as it should see, and
    those that kept all frames show exactly the fleet.
    """
    for client in clients:
        expected = moves.seen(step, client.view)
        if client.last_count != len(expected) or (client.kept is not None and client.shown() != expected):
            progress(f"wrong: {client.view} shows {client.last_count}, not {len(expected)}")
            return False
    return True


def raise_file_limit() -> None:
    """A thousand sockets are more than most shells allow."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))


def run(options: Options) -> Iterator[Result]:
    if not options.wants("mixed_viewports"):
        return
    scale = QUICK if options.quick else FULL
    raise_file_limit()
    runs: dict[str, list[Run]] = {"ours": [], "peer": []}
    for pair in range(scale.pairs):
        for kind in ("ours", "peer") if pair % 2 == 0 else ("peer", "ours"):
            found = uvloop.run(measure(kind, scale))
            progress(f"{kind}: {found.positions_per_s:,.0f} positions/s, {found.frames_per_s:,.0f} frames/s")
            runs[kind].append(found)
    ratios = [
        ours.positions_per_s / peer.positions_per_s for ours, peer in zip(runs["ours"], runs["peer"], strict=True)
    ]
    yield Result(
        case="mixed_viewports",
        ours=statistics.median(each.positions_per_s for each in runs["ours"]),
        peer=statistics.median(each.positions_per_s for each in runs["peer"]),
        unit="positions/s",
        ratio=statistics.median(ratios),
        spread=spread_of(ratios),
        checked=all(each.checked for kind in runs.values() for each in kind),
        notes={
            "clients": scale.clients,
            "devices": scale.devices,
            "our_frames_per_s": statistics.median(each.frames_per_s for each in runs["ours"]),
            "peer_frames_per_s": statistics.median(each.frames_per_s for each in runs["peer"]),
        },
    )


if __name__ == "__main__":
    main("fanout", run)
