"""Drives a scenario in real time and sends what its devices measure."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable

from drover.telemetry.v1 import reading_pb2
from runtime.process import Stop
from simulators.faults import FaultRates, Faults
from simulators.gps import Receiver
from simulators.rfid import Portal
from simulators.scenario import Member, Scenario
from simulators.sender import Sender
from simulators.sensors import ColdBox
from simulators.traffic import Traffic
from simulators.vehicle import Vehicle

SAMPLE_S = 5.0
PORTAL_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class SimulationOptions:
    """How to drive."""

    fixes_per_s: float = 1.0
    """Fixes a second and vehicle."""
    seconds: float | None = None
    """When to end; None goes on until asked to stop."""
    dwell_s: float = 40.0
    """How long vehicles wait at a site, about."""
    faults: FaultRates = dataclasses.field(default_factory=FaultRates)


class _Truck:
    """One vehicle with its devices."""

    def __init__(self, scenario: Scenario, member: Member) -> None:
        rng = random.Random(f"{scenario.seed} {member.device_id}")
        self.member = member
        self.vehicle = Vehicle(scenario.graph, [site.crossing for site in scenario.sites], list(member.tour), rng)
        if member.start_before_stop_m is None:
            self.vehicle.place(member.start_share)
        else:
            self.vehicle.place_before_stop(member.start_before_stop_m)
        self.receiver = Receiver(rng)
        self.box = ColdBox(rng) if member.refrigerated else None
        self.sampled_at_s = -rng.uniform(0, SAMPLE_S)
        self.at_site: int | None = None


class Simulation:
    """Moves the fleet step by step. Of two senders, the first has the first, third, ... vehicle."""

    def __init__(self, scenario: Scenario, options: SimulationOptions, senders: list[Sender]) -> None:
        rng = random.Random(f"{scenario.seed} simulation")
        self._options = options
        self._senders = senders
        self._scenario = scenario
        self._trucks = [_Truck(scenario, member) for member in scenario.fleet]
        self._traffic = Traffic(len(scenario.graph.crossings), rng)
        self._faults = Faults(options.faults, rng)
        self._portals = [Portal(site.reader_id, rng) if site.reader_id else None for site in scenario.sites]
        self._portals_read_at_s = 0.0

    async def run(self, stop: Stop, report: Callable[[], None]) -> None:
        """Drives until the time is over or `stop`. `report` is called about once a second."""
        started_s = time.monotonic()
        step_s = 1.0 / self._options.fixes_per_s
        step = 0
        reported_s = 0.0
        while not stop.is_set():
            elapsed_s = time.monotonic() - started_s
            if self._options.seconds is not None and elapsed_s >= self._options.seconds:
                break
            await self._step(time.time(), elapsed_s, step_s)
            if elapsed_s - reported_s >= 1.0:
                report()
                reported_s = elapsed_s
            step += 1
            pause_s = started_s + step * step_s - time.monotonic()
            if pause_s > 0:
                await stop.wait_for(pause_s)
            else:
                # Behind: the pace is kept by what is sent from now on, not by a burst that no device would make.
                started_s -= pause_s
                await asyncio.sleep(0)
        for sender in self._senders:
            await sender.drain()

    async def _step(self, now_s: float, elapsed_s: float, step_s: float) -> None:
        traffic = self._traffic.at(now_s % 86_400)
        for number, truck in enumerate(self._trucks):
            truth = truck.vehicle.drive(step_s, traffic, self._options.dwell_s)
            truck.at_site = truth.at_site
            # Devices do not tick together: each measures at its own moment of the step.
            observed_at_us = int((now_s - step_s * (number % 97) / 97) * 1e6)
            readings = reading_pb2.ReadingBatch(positions=[truck.receiver.fix(truth, observed_at_us, step_s)])
            if truck.box is not None and elapsed_s - truck.sampled_at_s >= SAMPLE_S:
                samples = truck.box.samples(
                    observed_at_us, elapsed_s - truck.sampled_at_s, door_open=truck.at_site is not None
                )
                readings.sensors.extend(samples)
                truck.sampled_at_s = elapsed_s
            sender = self._senders[number % len(self._senders)]
            for message in self._faults.pass_on(truck.member.device_id, readings):
                await sender.send(truck.member.device_id, message)
        if elapsed_s - self._portals_read_at_s >= PORTAL_S:
            self._portals_read_at_s = elapsed_s
            await self._read_portals(int(now_s * 1e6))
        for sender in self._senders:
            await sender.flush()

    async def _read_portals(self, observed_at_us: int) -> None:
        for site, portal in enumerate(self._portals):
            if portal is None:
                continue
            tags = [epc for truck in self._trucks if truck.at_site == site for epc in truck.member.tags]
            reads = portal.reads(tags, observed_at_us)
            if reads:
                await self._senders[-1].send(portal.device_id, reading_pb2.ReadingBatch(tags=reads))
