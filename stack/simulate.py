"""`drover simulate`: a fleet that speaks to a running stack."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import signal
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from runtime import logs
from runtime.process import Stop
from runtime.tokens import Role, load_or_create_keys
from simulators import grpc_sender, mqtt_sender, scenario
from simulators.faults import FaultRates
from simulators.sender import Sender
from simulators.simulation import Simulation, SimulationOptions
from stack import running
from stack.options import DEFAULT_DATA_DIR, AsJson, DataDir, Tenant

Via = Annotated[str, typer.Option(help="mqtt, grpc, or both.", metavar="mqtt|grpc|both")]


def command(
    vehicles: Annotated[int, typer.Option(min=1, max=100_000, help="How many vehicles.")] = 100,
    rate: Annotated[float, typer.Option(min=0.001, max=100.0, help="Fixes a second and vehicle.")] = 1.0,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="When to end; without it, Ctrl-C does.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed drives the same way.")] = 1,
    via: Via = "mqtt",
    faults: Annotated[
        str, typer.Option(help="duplicate, reorder, late, jump, silence with a share each: duplicate=0.01,late=0.001")
    ] = "",
    osm: Annotated[pathlib.Path | None, typer.Option(help="Roads from an OpenStreetMap extract (.osm.pbf).")] = None,
    mqtt_url: Annotated[str | None, typer.Option(help="Broker; the running stack's by default.")] = None,
    grpc_address: Annotated[
        str | None, typer.Option(help="host:port of ingest; the running stack's by default.")
    ] = None,
    tenant: Tenant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Drive a simulated fleet against a running stack, with faults if you like."""
    if via not in {"mqtt", "grpc", "both"}:
        raise typer.BadParameter("say mqtt, grpc or both", param_hint="--via")
    rates = FaultRates.parse(faults)
    needs_running = tenant is None or (via != "grpc" and mqtt_url is None) or (via != "mqtt" and grpc_address is None)
    addresses, its_tenant = running.read(data_dir) if needs_running else (None, "")
    if addresses is not None:
        mqtt_url = mqtt_url or addresses.mqtt_url
        grpc_address = grpc_address or f"127.0.0.1:{addresses.ingest}"
    options = SimulationOptions(fixes_per_s=rate, seconds=seconds, faults=rates)
    plan = scenario.build(seed, vehicles, osm=osm)
    logs.configure("warning", json=False, process="simulate")
    asyncio.run(
        _simulate(
            plan,
            options,
            mqtt_url if via != "grpc" else None,
            grpc_address if via != "mqtt" else None,
            tenant or its_tenant,
            data_dir,
            as_json=as_json,
        )
    )


async def _simulate(
    plan: scenario.Scenario,
    options: SimulationOptions,
    mqtt_url: str | None,
    grpc_address: str | None,
    tenant: str,
    data_dir: pathlib.Path,
    *,
    as_json: bool,
) -> None:
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = Console(stderr=True, highlight=False)
    started_s = time.monotonic()
    async with contextlib.AsyncExitStack() as connections:
        senders: list[Sender] = []
        if mqtt_url is not None:
            client_id = f"drover-simulate-{os.getpid()}"
            sender = mqtt_sender.connected(mqtt_url, tenant, client_id)
            senders.append(await connections.enter_async_context(sender))
        if grpc_address is not None:
            issuer = load_or_create_keys(data_dir).issuer
            token = issuer.issue("simulator", tenant, Role.FORWARDER, 86_400)
            link = grpc_sender.connected(grpc_address, lambda: token, batch=500)
            senders.append(await connections.enter_async_context(link))

        def totals() -> dict[str, int]:
            return {
                name: sum(getattr(sender.receipts, name) for sender in senders)
                for name in ("sent", "acknowledged", "resent")
            }

        status = console.status("connecting") if console.is_terminal else None

        def report() -> None:
            now = totals()
            text = (
                f"{len(plan.fleet)} vehicles, {time.monotonic() - started_s:.0f} s: "
                f"{now['sent']:,} readings sent, {now['acknowledged']:,} acknowledged"
            )
            if status is not None:
                status.update(text)
            elif int(time.monotonic() - started_s) % 10 == 0:
                console.print(text)

        with status or contextlib.nullcontext():
            await Simulation(plan, options, senders).run(stop, report)
        result = {
            **totals(),
            "rejected": {reason: number for sender in senders for reason, number in sender.receipts.rejected.items()},
            "seconds": round(time.monotonic() - started_s, 3),
        }
    if as_json:
        print(json.dumps(result))
    else:
        print(f"sent {result['sent']:,} readings, acknowledged {result['acknowledged']:,}, in {result['seconds']} s")
    sys.stdout.flush()
