"""A database that answers that it cannot, as real ones do: ingest waits, says why, and goes on by itself."""

from __future__ import annotations

import asyncio
import pathlib

import pytest

from ingest.devices.registry import AutoProvisioning
from runtime import database
from runtime.database import create_engine, trouble
from runtime.problems import Unavailable
from tests.ingest.readings import position
from tests.ingest.rig import NOW_US, FakeLog, Rig, running
from tests.servers.mariadb import MariaDb

ALL = AutoProvisioning(enabled=True)
FIX = position().SerializeToString()
STRANGER = ("drover/v1/acme/new/position", FIX)
"""Of a device that must be provisioned first."""
MALFORMED = ("drover/v1/acme/truck/position", b"\xff")
"""Of a known device; becomes a dead letter."""


async def _wrong(rig: Rig, message: tuple[str, bytes]) -> asyncio.Task[None]:
    """Sends a message; returns when its part of ingest says what is wrong."""
    sending = asyncio.create_task(rig.send(message))
    part = rig.registry if message is STRANGER else rig.dead_letters
    async with asyncio.timeout(30):
        while part.wrong is None:
            assert not sending.done()
            await asyncio.sleep(0.01)
    return sending


@pytest.mark.parametrize("message", [STRANGER, MALFORMED])
async def test_a_locked_file_is_waited_for(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, message: tuple[str, bytes]
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_TIMEOUT_MS", 20)
    log = FakeLog()
    async with running(tmp_path, log, auto=ALL) as rig:
        await rig.provision("truck")
        other = create_engine(f"sqlite+aiosqlite:///{tmp_path / 'ingest.db'}")
        async with database.write(other):
            sending = await _wrong(rig, message)
            with pytest.raises(Unavailable):
                await rig.dead_letters.prune(NOW_US)
            pruning = asyncio.create_task(rig.dead_letters.run_retention(every_s=0.01))
            await asyncio.sleep(0.1)
            assert not pruning.done()
            assert not sending.done()
        await asyncio.wait_for(sending, 30)
        pruning.cancel()
        assert rig.registry.wrong is rig.dead_letters.wrong is None
        assert len(await rig.letters()) == (message is MALFORMED)
        assert len(log.readings.positions.device) == (message is STRANGER)
        await other.dispose()


@pytest.mark.server
@pytest.mark.parametrize("message", [STRANGER, MALFORMED])
async def test_a_mariadb_that_was_killed_is_waited_for(
    tmp_path: pathlib.Path, mariadb_server: MariaDb, message: tuple[str, bytes]
) -> None:
    log = FakeLog()
    async with running(tmp_path, log, auto=ALL, url=mariadb_server.url) as rig:
        await rig.provision("truck")
        assert await trouble(rig.engine) is None
        mariadb_server.kill()
        try:
            sending = await _wrong(rig, message)
            said = await trouble(rig.engine)
            assert said is not None
            assert said.startswith("the database does not answer")
        finally:
            mariadb_server.start()
        await asyncio.wait_for(sending, 30)
        assert rig.registry.wrong is rig.dead_letters.wrong is None
        assert len(await rig.letters()) == (message is MALFORMED)
        assert len(log.readings.positions.device) == (message is STRANGER)
