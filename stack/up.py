"""`drover up`: everything on this machine, over real protocols on embedded servers."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import signal
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from runtime.process import Stop
from runtime.tokens import Role, load_or_create_keys
from stack import data_folder, demo, embedded, ports, processes, running, warmup
from stack.broker_files import BrokerFiles
from stack.child import Child
from stack.options import DEFAULT_DATA_DIR, ConfigFile, DataDir
from stack.settings import load_all
from stack.supervisor import Supervisor

TOKEN_HOURS = 12.0
FLEET_TOKEN_DAYS = 30

console = Console(highlight=False)


def command(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    demo_fleet: Annotated[
        bool, typer.Option("--demo", help="Add a simulated fleet with fences and shipments.")
    ] = False,
    vehicles: Annotated[int, typer.Option(min=1, max=100_000, help="Vehicles of the simulated fleet.")] = 120,
    tenant: Annotated[str, typer.Option(help="Tenant that the printed token is good for.")] = "demo",
    http_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the map and REST; 0 takes a free one.")
    ] = 8000,
    http_host: Annotated[str, typer.Option(help="Address of the map and REST.")] = "127.0.0.1",
    mqtt_port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port of MQTT [1883].")] = None,
    mqtt_host: Annotated[str, typer.Option(help="Address of MQTT.")] = "127.0.0.1",
    ingest_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port of gRPC for devices [50051].")
    ] = None,
    redis_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port of the embedded Redis [6390].")
    ] = None,
    auto_provision: Annotated[bool, typer.Option(help="Take in devices that are not known yet.")] = True,
    bundled: Annotated[
        bool, typer.Option("--bundled", help="Redis and MQTT from Python packages, even where the machine has its own.")
    ] = False,
    secure: Annotated[
        bool,
        typer.Option("--secure", help="Let in over MQTT only devices with credentials (`drover device create`)."),
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Start everything on this machine; Ctrl-C stops it. Data are kept in the data folder."""
    load_all(config)  # a wrong setting is told before anything starts
    with data_folder.held(data_dir) as folder:
        addresses = processes.Addresses(
            http=ports.exact(http_port, "the map and REST", "--http-port"),
            mqtt=ports.chosen(mqtt_port, 1883, "MQTT", "--mqtt-port", _note),
            ingest=ports.chosen(ingest_port, 50051, "gRPC for devices", "--ingest-port", _note),
            redis=ports.chosen(redis_port, 6390, "Redis", "--redis-port", _note),
            tracking=ports.any_free(),
            shipment=ports.any_free(),
            http_host=http_host,
            mqtt_host=mqtt_host,
            mqtt_is_secure=secure,
        )
        overrides = {"DROVER_INGEST_AUTO_PROVISION": "true" if auto_provision else "false"}
        if config is not None:
            overrides["DROVER_CONFIG"] = str(config.resolve())
        if demo_fleet:
            overrides["DROVER_GATEWAY_DEMO_TENANT"] = tenant
        files = BrokerFiles.in_data(folder) if secure else None
        asyncio.run(_up(folder, addresses, overrides, tenant, vehicles if demo_fleet else 0, files, bundled=bundled))


def _note(text: str) -> None:
    console.print(f"[dim]{text}[/dim]")


async def _up(
    folder: pathlib.Path,
    addresses: processes.Addresses,
    overrides: dict[str, str],
    tenant: str,
    vehicles: int,
    files: BrokerFiles | None,
    *,
    bundled: bool,
) -> None:
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logs = folder / "logs"
    supervisor = Supervisor(_note, lambda: running.write(folder, addresses, tenant, supervisor.pids()))
    servers = [
        embedded.redis(folder / "redis", logs, addresses.redis, bundled=bundled),
        embedded.mqtt(
            folder / "mqtt",
            logs,
            addresses.mqtt_host,
            addresses.mqtt,
            bundled=bundled,
            files=None if files is None else files.folder,
        ),
    ]
    if files is not None:
        overrides = {
            "DROVER_INGEST_MQTT_URLS": files.ingest_url("127.0.0.1", addresses.mqtt),
            "DROVER_INGEST_MOSQUITTO_DIR": str(files.folder),
            **overrides,
        }
    if embedded.speaks_only_mqtt_3(servers[1]):
        overrides = {"DROVER_INGEST_MQTT_VERSION": "3.1.1", **overrides}
    children = [*servers, *processes.all_processes(addresses, folder, logs, overrides)]
    work = asyncio.create_task(_start_and_watch(supervisor, children, folder, addresses, tenant, vehicles, stop))
    following = None
    if files is not None:
        following = asyncio.create_task(files.follow(lambda: supervisor.pids().get(servers[1].name)))
    asked = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            console.print("stopping ...")
            work.cancel()
    finally:
        asked.cancel()
        if following is not None:
            following.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await supervisor.stop()
    if not work.cancelled() and (error := work.exception()) is not None:
        raise error
    console.print("stopped; the data are in", str(folder))


async def _start_and_watch(
    supervisor: Supervisor,
    children: list[Child],
    folder: pathlib.Path,
    addresses: processes.Addresses,
    tenant: str,
    vehicles: int,
    stop: Stop,
) -> None:
    keys = load_or_create_keys(folder)
    await warmup.ensure(_note)
    for child in children:
        with console.status(f"starting {child.name}") if console.is_terminal else contextlib.nullcontext():
            await supervisor.start(child)
    token = keys.issuer.issue("operator", tenant, Role.DISPATCHER, TOKEN_HOURS * 3600)
    if vehicles:
        plan = await demo.prepare(addresses, keys, tenant, vehicles)
        forwarder = keys.issuer.issue("demo-fleet", tenant, Role.FORWARDER, FLEET_TOKEN_DAYS * 86_400)
        fleet = demo.fleet(plan, addresses, forwarder, tenant, folder / "logs", over_mqtt=not addresses.mqtt_is_secure)
        await supervisor.start(fleet)
    running.write(folder, addresses, tenant, supervisor.pids())
    _show(addresses, folder, token, tenant, vehicles)
    await supervisor.watch(stop)


def _show(addresses: processes.Addresses, folder: pathlib.Path, token: str, tenant: str, vehicles: int) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("map", addresses.http_url)
    table.add_row("REST", f"{addresses.http_url}/v1  (described at {addresses.http_url}/openapi.json)")
    table.add_row("MQTT", f"{addresses.mqtt_url}  topic drover/v1/{tenant}/DEVICE/position/json")
    if addresses.mqtt_is_secure:
        table.add_row("", "for devices with credentials: `drover device create ID`")
    else:
        table.add_row(
            "", "[yellow]open to everybody who can reach it; --secure lets in only devices with credentials[/yellow]"
        )
    table.add_row("gRPC", f"127.0.0.1:{addresses.ingest}  drover.api.ingest.v1.TelemetryIngest")
    if vehicles:
        table.add_row("fleet", f"{vehicles} simulated vehicles, tenant {tenant}")
    table.add_row("data", str(folder))
    console.print(table)
    console.print(f"[bold]token[/bold] (tenant {tenant}, dispatcher, {TOKEN_HOURS:g} h; more with `drover token`)")
    console.print(token, soft_wrap=True)
    console.print("[bold green]ready[/bold green]  Ctrl-C stops everything")
    sys.stdout.flush()
