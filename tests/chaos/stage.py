"""The world of a run: real servers as shipped, Drover's processes, and a fault proxy on each way between them.

It outlives schedules: only what a schedule kills is started again, and each schedule has a tenant of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

import redis.asyncio as redis

from runtime import redis_client
from runtime.tokens import Issuer, load_or_create_keys
from stack.ports import any_free
from tests.chaos.schedule import Database, Link, Victim
from tests.servers.drover import DroverProcess
from tests.servers.fault_proxy import FAIR, FaultProxy
from tests.servers.mariadb import MariaDb
from tests.servers.mosquitto import Mosquitto
from tests.servers.process import ServerProcess
from tests.servers.redis import RedisServer

PARTITIONS: Final = 3
CLIENT_ID: Final = "drover-ingest"
GRACE_S: Final = 10.0
_START_S: Final = 300.0
"""Kernels may have to be compiled."""

# Small batches, flushes and snapshots, so that there is always one in the middle of something.
_COMMON: Final = {"PARTITIONS": str(PARTITIONS), "LOG_LEVEL": "info"}
_INGEST: Final = {
    "INGEST_AUTO_PROVISION": "true",
    "INGEST_FLUSH_READINGS": "200",
    "INGEST_MQTT_HIGH_WATER_MESSAGES": "400",
    "INGEST_DRAIN_S": str(GRACE_S),
}
_TRACKING: Final = {
    "TRACKING_READ_ENTRIES": "8",
    "TRACKING_HISTORY_FLUSH_ROWS": "300",
    "TRACKING_HISTORY_FLUSH_MS": "10",
    "TRACKING_HISTORY_QUEUE_ROWS": "2000",
    "TRACKING_SNAPSHOT_ENTRIES": "40",
    "TRACKING_LOG_KEEP_HOURS": "0",
}


class CrashedError(AssertionError):
    """A process of Drover's ended by itself, with a traceback or for a reason that is none of the faults."""


class Stage:
    """Call `started`. `servers` has all processes by name, `proxies` all ways between them."""

    def __init__(self, folder: pathlib.Path, database: Database) -> None:
        self.folder: Final = folder
        self.database: Final = database
        self.runs = 0
        folders = {name: folder / name for name in ("broker", "redis", "mariadb", "drover")}
        for each in folders.values():
            each.mkdir(parents=True)
        self.broker: Final = Mosquitto.as_shipped(folders["broker"])
        self.redis: Final = RedisServer(folders["redis"])
        self.mariadb: Final = MariaDb(folders["mariadb"]) if database == "mariadb" else None
        self.grpc_port: Final = any_free()
        targets: dict[Link, int] = {
            "ingest-broker": self.broker.port,
            "ingest-redis": self.redis.port,
            "tracking-redis": self.redis.port,
            "sender-ingest": self.grpc_port,
        }
        if self.mariadb is not None:
            targets |= {"ingest-mariadb": self.mariadb.port, "tracking-mariadb": self.mariadb.port}
        self.proxies: Final[Mapping[Link, FaultProxy]] = {name: FaultProxy(port) for name, port in targets.items()}
        self.data: Final = folders["drover"]
        common = {**_COMMON, "DATA_DIR": str(self.data)}
        self.ingest: Final = DroverProcess(
            "ingest",
            self.data,
            {
                **common,
                **_INGEST,
                "REDIS_URL": self._redis_url("ingest-redis"),
                "INGEST_MQTT_URLS": f"mqtt://127.0.0.1:{self.proxies['ingest-broker'].port}",
                "INGEST_GRPC_ADDRESS": f"127.0.0.1:{self.grpc_port}",
                "INGEST_DATABASE_URL": self._database_url("ingest", "ingest-mariadb"),
            },
        )
        self.tracking: Final = DroverProcess(
            "services.tracking",
            self.data,
            {
                **common,
                **_TRACKING,
                "REDIS_URL": self._redis_url("tracking-redis"),
                "TRACKING_GRPC_ADDRESS": f"127.0.0.1:{any_free()}",
                "TRACKING_DATABASE_URL": self._database_url("tracking", "tracking-mariadb"),
            },
        )
        self.servers: Final[Mapping[Victim, ServerProcess]] = {
            "broker": self.broker,
            "redis": self.redis,
            **({"mariadb": self.mariadb} if self.mariadb is not None else {}),
            "ingest": self.ingest,
            "tracking": self.tracking,
        }
        self.busy: Final = {name: asyncio.Lock() for name in self.servers}
        """Held by whoever stops and starts a process."""

    @property
    def issuer(self) -> Issuer:
        """Of tokens that ingest believes."""
        return load_or_create_keys(self.data).issuer

    def database_url(self, name: str) -> str:
        """The address of a database, without a proxy in between."""
        if self.mariadb is None:
            return f"sqlite+aiosqlite:///{self.data / name}.db"
        return f"mysql+asyncmy://drover:drover@127.0.0.1:{self.mariadb.port}/{name}"

    def connect_redis(self) -> redis.Redis:
        """A client, without a proxy in between."""
        return redis_client.connect(self.redis.url)

    def _redis_url(self, link: Link) -> str:
        return f"redis://127.0.0.1:{self.proxies[link].port}/0"

    def _database_url(self, name: str, link: Link) -> str:
        if self.mariadb is None:
            return self.database_url(name)
        return f"mysql+asyncmy://drover:drover@127.0.0.1:{self.proxies[link].port}/{name}"

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[Stage]:
        """Everything runs while the context lasts."""
        async with contextlib.AsyncExitStack() as proxies:
            try:
                for proxy in self.proxies.values():
                    await proxies.enter_async_context(proxy.serving())
                for name in ("broker", "redis", "mariadb"):
                    if name in self.servers:
                        self.servers[name].launch()
                await self._ready("broker", "redis", "mariadb")
                if self.mariadb is not None:
                    for name in ("ingest", "tracking"):
                        self.mariadb.new_database(name)
                self.ingest.launch()
                self.tracking.launch()
                await self._ready("ingest", "tracking")
                yield self
            finally:
                for server in reversed(list(self.servers.values())):
                    server.kill()

    async def _ready(self, *names: Victim) -> None:
        servers = [self.servers[name] for name in names if name in self.servers]
        await asyncio.gather(*(asyncio.to_thread(server.wait_ready, _START_S) for server in servers))

    async def start(self, name: Victim, **settings: str) -> None:
        """Starts a process that has ended; returns when it is ready. Hold its lock."""
        server = self.servers[name]
        if isinstance(server, DroverProcess):
            server.launch(**settings)
        else:
            server.launch()
        # A process of Drover's may wait for a server that is away: others bring it back meanwhile.
        await asyncio.to_thread(server.wait_ready, _START_S)

    async def end_of(self, name: Victim, seconds: float) -> int:
        """How a process ends, which must be soon."""
        async with asyncio.timeout(seconds):
            while (code := self.servers[name].exit_code) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return code

    def check_running(self) -> None:
        """Raises CrashedError when a process that nobody is stopping has ended."""
        for name, server in self.servers.items():
            if server.exit_code is not None and not self.busy[name].locked():
                said = server.log.read_text(errors="replace")[-4000:]
                raise CrashedError(f"{name} ended by itself, with {server.exit_code}:\n{said}")

    def clear_up(self) -> None:
        """Fair weather everywhere."""
        for proxy in self.proxies.values():
            proxy.weather = FAIR
