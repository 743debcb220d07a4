"""`python -m simulators`: a fleet as a process of its own; `drover simulate` gives the same by hand."""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib

import structlog

from runtime.process import Stop, run
from runtime.settings import CommonSettings
from simulators import grpc_sender, mqtt_sender, scenario
from simulators.faults import FaultRates
from simulators.sender import Sender
from simulators.simulation import Simulation, SimulationOptions

log = structlog.get_logger()


async def drive(arguments: argparse.Namespace, stop: Stop) -> None:
    """Connects over what is named, and drives until asked to stop."""
    plan = scenario.build(arguments.seed, arguments.vehicles, osm=arguments.osm)
    options = SimulationOptions(
        fixes_per_s=arguments.rate, seconds=arguments.seconds, faults=FaultRates.parse(arguments.faults)
    )
    async with contextlib.AsyncExitStack() as connections:
        senders: list[Sender] = []
        if arguments.mqtt:
            client_id = f"drover-simulator-{os.getpid()}"
            senders.append(
                await connections.enter_async_context(
                    mqtt_sender.connected(arguments.mqtt, arguments.tenant, client_id)
                )
            )
        if arguments.grpc:
            token = os.environ.get("DROVER_TOKEN", "")
            senders.append(
                await connections.enter_async_context(grpc_sender.connected(arguments.grpc, lambda: token, batch=500))
            )
        simulation = Simulation(plan, options, senders)
        log.info("ready", vehicles=arguments.vehicles)
        await simulation.run(stop, lambda: None)


def main() -> None:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(prog="python -m simulators", description=__doc__)
    parser.add_argument("--mqtt", help="mqtt://host:port")
    parser.add_argument("--grpc", help="host:port; the token stands in DROVER_TOKEN")
    parser.add_argument("--tenant", default="demo")
    parser.add_argument("--vehicles", type=int, default=120)
    parser.add_argument("--rate", type=float, default=1.0, help="fixes a second and vehicle")
    parser.add_argument("--seconds", type=float, help="when to end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default="", help="for instance duplicate=0.01,late=0.001")
    parser.add_argument("--osm", type=pathlib.Path, help="roads from an OpenStreetMap extract")
    arguments = parser.parse_args()
    if not arguments.mqtt and not arguments.grpc:
        parser.error("name --mqtt, --grpc or both")
    run("simulator", lambda stop: drive(arguments, stop), CommonSettings())


if __name__ == "__main__":
    main()
