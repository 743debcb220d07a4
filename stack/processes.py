"""The Drover processes as children: one command each, settings in the environment, ready when /readyz says so."""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import sys
from collections.abc import Mapping

from stack.child import Child
from stack.ports import any_free


@dataclasses.dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything of one stack listens."""

    redis: int
    mqtt: int
    http: int
    ingest: int
    tracking: int
    shipment: int
    http_host: str = "127.0.0.1"
    mqtt_host: str = "127.0.0.1"
    mqtt_is_secure: bool = False
    """Whether only devices with credentials are let in."""

    @property
    def redis_url(self) -> str:
        """For settings."""
        return f"redis://127.0.0.1:{self.redis}/0"

    @property
    def mqtt_url(self) -> str:
        """For settings and simulators."""
        return f"mqtt://127.0.0.1:{self.mqtt}"

    @property
    def http_url(self) -> str:
        """For people."""
        return f"http://127.0.0.1:{self.http}"


async def _answers_ready(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(3.0):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def drover_process(
    name: str, module: str, environment: Mapping[str, str], logs: pathlib.Path, ready_at: tuple[str, int]
) -> Child:
    """`python -m module` under the stack's interpreter."""

    async def ready() -> bool:
        return await _answers_ready(*ready_at)

    return Child(name, [sys.executable, "-m", module], logs / f"{name}.log", ready, dict(environment))


def all_processes(
    addresses: Addresses, data_dir: pathlib.Path, logs: pathlib.Path, overrides: Mapping[str, str]
) -> list[Child]:
    """Ingest, tracking, shipment and gateway, in the order to start them. `overrides` are further settings."""
    shared = {"DROVER_DATA_DIR": str(data_dir), "DROVER_REDIS_URL": addresses.redis_url, **overrides}
    probes = {name: any_free() for name in ("ingest", "tracking", "shipment")}
    services = [
        ("tracking", "services.tracking", {
            "DROVER_TRACKING_GRPC_ADDRESS": f"127.0.0.1:{addresses.tracking}",
            "DROVER_TRACKING_PROBE_PORT": str(probes["tracking"]),
        }),
        ("ingest", "ingest", {
            "DROVER_INGEST_MQTT_URLS": overrides.get("DROVER_INGEST_MQTT_URLS", addresses.mqtt_url),
            "DROVER_INGEST_GRPC_ADDRESS": f"127.0.0.1:{addresses.ingest}",
            "DROVER_INGEST_PROBE_PORT": str(probes["ingest"]),
        }),
        ("shipment", "services.shipment", {
            "DROVER_SHIPMENT_GRPC_ADDRESS": f"127.0.0.1:{addresses.shipment}",
            "DROVER_SHIPMENT_TRACKING_ADDRESS": f"127.0.0.1:{addresses.tracking}",
            "DROVER_SHIPMENT_PROBE_PORT": str(probes["shipment"]),
        }),
    ]  # fmt: skip
    children = [
        drover_process(name, module, {**shared, **own}, logs, ("127.0.0.1", probes[name]))
        for name, module, own in services
    ]
    gateway = {
        "DROVER_GATEWAY_HOST": addresses.http_host,
        "DROVER_GATEWAY_PORT": str(addresses.http),
        "DROVER_GATEWAY_INGEST_ADDRESS": f"127.0.0.1:{addresses.ingest}",
        "DROVER_GATEWAY_TRACKING_ADDRESS": f"127.0.0.1:{addresses.tracking}",
        "DROVER_GATEWAY_SHIPMENT_ADDRESS": f"127.0.0.1:{addresses.shipment}",
    }
    host = "127.0.0.1" if addresses.http_host == "0.0.0.0" else addresses.http_host  # noqa: S104
    children.append(drover_process("gateway", "gateway", {**shared, **gateway}, logs, (host, addresses.http)))
    return children
