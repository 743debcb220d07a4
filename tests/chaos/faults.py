"""Each fault, done to a stage."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import NamedTuple

from tests.chaos.mqtt_sender import connect_packet, read_packet
from tests.chaos.schedule import Cut, Dies, Fault, Forgets, Killed, Stopped, Storm, TakenOver
from tests.chaos.stage import CLIENT_ID, GRACE_S, CrashedError, Stage
from tests.servers.fault_proxy import FAIR

_SLACK_S = 20.0
"""What a loaded machine may add to a grace time."""


class BrokerDeath(NamedTuple):
    """When the broker had last saved before it was killed, and when it was there again: seconds since 1970.

    In between a sender may yet read an answer of the dead one from its socket.
    """

    saved_at_s: float
    back_at_s: float


async def do(fault: Fault, stage: Stage) -> BrokerDeath | None:
    """Does it, and mends it; returns when all is running again."""
    match fault:
        case Dies():
            await _die_at(fault, stage)
        case Killed():
            return await _kill(fault, stage)
        case Stopped():
            await _stop(fault, stage)
        case Forgets():
            return await _forget(fault, stage)
        case TakenOver():
            await _take_over(fault, stage)
        case Cut():
            stage.proxies[fault.link].cut(is_reset=fault.is_reset)
        case Storm():
            proxy = stage.proxies[fault.link]
            proxy.weather = fault.weather
            await asyncio.sleep(fault.for_s)
            if proxy.weather is fault.weather:
                proxy.weather = FAIR
    return None


async def _die_at(fault: Dies, stage: Stage) -> None:
    async with stage.busy["ingest"]:
        stage.ingest.kill()
        await stage.start("ingest", FAULT_POINT=f"{fault.point}:{fault.nth}")
        # With little left to send it may never come there.
        with contextlib.suppress(TimeoutError):
            assert await stage.end_of("ingest", 3.0) == -signal.SIGKILL
        stage.ingest.kill()
        await asyncio.sleep(fault.away_s)
        await stage.start("ingest")


async def _kill(fault: Killed, stage: Stage) -> BrokerDeath | None:
    async with stage.busy[fault.victim]:
        stage.servers[fault.victim].kill()
        saved = stage.broker.saved
        saved_at_s = saved.stat().st_mtime if saved.is_file() else 0.0
        await asyncio.sleep(fault.away_s)
        await stage.start(fault.victim)
        return BrokerDeath(saved_at_s, time.time()) if fault.victim == "broker" else None


async def _stop(fault: Stopped, stage: Stage) -> None:
    async with stage.busy[fault.victim]:
        process = stage.servers[fault.victim]
        if process.exit_code is None:
            process.terminate()
            code = await stage.end_of(fault.victim, 2 * GRACE_S + _SLACK_S)
            if fault.victim in {"ingest", "tracking"} and code != 0:
                raise CrashedError(f"{fault.victim} stopped with {code}:\n{process.log.read_text()[-4000:]}")
        await asyncio.sleep(fault.away_s)
        await stage.start(fault.victim)


async def _forget(fault: Forgets, stage: Stage) -> BrokerDeath:
    async with stage.busy["broker"]:
        stage.broker.kill()
        stage.broker.saved.unlink(missing_ok=True)
        await asyncio.sleep(fault.away_s)
        await stage.start("broker")
        return BrokerDeath(0.0, time.time())


async def _take_over(fault: TakenOver, stage: Stage) -> None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.broker.port)
    except OSError:  # another fault has the broker
        return
    try:
        writer.write(connect_packet(CLIENT_ID, clean_start=False, expiry_s=3600))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(fault.for_s):
                while True:
                    await read_packet(reader)
    finally:
        writer.transport.abort()
