"""Processes that start, die, come back, and stop in order."""

from __future__ import annotations

import asyncio
import pathlib
import sys

import pytest

from runtime.problems import FatalError
from runtime.process import Stop
from stack import supervisor as module
from stack.child import Child
from stack.supervisor import Supervisor


def child(folder: pathlib.Path, name: str, program: str, *, once: bool = False) -> Child:
    """A Python program that is ready when it has said so."""
    log = folder / f"{name}.log"

    async def ready() -> bool:
        return log.exists() and "up" in log.read_text()

    return Child(name, [sys.executable, "-uc", program], log, ready, once=once)


def make() -> tuple[Supervisor, list[str]]:
    said: list[str] = []
    return Supervisor(said.append, lambda: said.append("changed")), said


LIVES = "import time; print('up'); time.sleep(60)"


async def until(holds: object, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_what_is_killed_is_started_again_and_told(tmp_path: pathlib.Path) -> None:
    supervisor, said = make()
    await supervisor.start(child(tmp_path, "worker", LIVES))
    before = supervisor.pids()["worker"]
    stop = Stop()
    watching = asyncio.create_task(supervisor.watch(stop))
    import os
    import signal

    os.kill(before, signal.SIGKILL)
    await until(lambda: "worker is ready again" in said)
    assert said == ["worker killed by SIGKILL; starting it again", "changed", "worker is ready again"]
    assert supervisor.pids()["worker"] != before
    stop.set()
    await watching
    await supervisor.stop()
    assert supervisor.pids() == {}


async def test_what_only_a_person_can_mend_ends_it_with_its_last_words(tmp_path: pathlib.Path) -> None:
    supervisor, _ = make()
    program = "import sys, time; print('up'); time.sleep(0.3); print('no such folder'); sys.exit(1)"
    await supervisor.start(child(tmp_path, "worker", program))
    with pytest.raises(FatalError, match="worker cannot go on: no such folder"):
        await asyncio.wait_for(supervisor.watch(Stop()), 10)
    await supervisor.stop()


async def test_what_dies_again_and_again_ends_it(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DEATHS", 2)
    supervisor, _ = make()
    await supervisor.start(child(tmp_path, "worker", "import sys, time; print('up'); time.sleep(0.3); sys.exit(70)"))
    with pytest.raises(FatalError, match="worker died 2 times in a minute, last: ended with exit code 70"):
        await asyncio.wait_for(supervisor.watch(Stop()), 20)
    await supervisor.stop()


async def test_what_never_gets_ready_says_why(tmp_path: pathlib.Path) -> None:
    supervisor, _ = make()
    with pytest.raises(FatalError, match="worker ended with exit code 3: the disk is full"):
        await supervisor.start(child(tmp_path, "worker", "import sys; print('the disk is full'); sys.exit(3)"))


async def test_what_may_end_is_not_started_again(tmp_path: pathlib.Path) -> None:
    supervisor, said = make()
    await supervisor.start(child(tmp_path, "once", "import time; print('up'); time.sleep(0.2)", once=True))
    stop = Stop()
    watching = asyncio.create_task(supervisor.watch(stop))
    await until(lambda: supervisor.pids() == {})
    assert said == []
    stop.set()
    await watching


async def test_what_does_not_heed_is_killed(tmp_path: pathlib.Path) -> None:
    supervisor, _ = make()
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
    stubborn = child(tmp_path, "deaf", deaf)
    object.__setattr__(stubborn, "stop_s", 0.3)
    await supervisor.start(stubborn)
    async with asyncio.timeout(5):
        await supervisor.stop()
