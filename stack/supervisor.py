"""Keeps the stack's processes alive, and stops them in order.

A child that dies is started again, with a pause that grows; the log and the databases carry everything over. One that
says only a person can help (exit code 1), or that dies too often, ends the whole stack with one clear line.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable

from runtime.problems import FatalError
from runtime.process import Stop
from stack.child import Child, RunningChild

START_S = 90.0
"""A cold start compiles kernels; with a warm cache a process is ready in seconds."""
MAX_DEATHS = 5
DEATHS_WITHIN_S = 60.0


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


class Supervisor:
    """The running children, in the order they were started."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        """`say` tells people, `changed` is called when a child got another process id."""
        self._say = say
        self._changed = changed
        self._running: dict[str, RunningChild] = {}
        self._deaths: dict[str, deque[float]] = {}

    async def start(self, child: Child) -> None:
        """Starts a child and returns when it is ready. Raises FatalError, with its last words."""
        running = RunningChild(child)
        self._running[child.name] = running
        if not await running.wait_ready(START_S):
            code = running.exit_code()
            how = how_it_ended(code) if code is not None else f"was not ready within {START_S:g} s"
            raise FatalError(f"{child.name} {how}: {running.last_words()} (log: {child.log_file})")

    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {name: running.pid for name, running in self._running.items()}

    async def watch(self, stop: Stop) -> None:
        """Restarts what dies, until asked to stop. Raises FatalError when that is of no use."""
        while not stop.is_set():
            for name, running in list(self._running.items()):
                code = running.exit_code()
                if code is None:
                    continue
                if running.child.once:
                    if code != 0:
                        self._say(f"{name} {how_it_ended(code)}: {running.last_words()}")
                    del self._running[name]
                    continue
                await self._restart(running, code, stop)
            await stop.wait_for(0.2)

    async def _restart(self, running: RunningChild, code: int, stop: Stop) -> None:
        name = running.child.name
        if code == 1:
            raise FatalError(f"{name} cannot go on: {running.last_words()} (log: {running.child.log_file})")
        now = asyncio.get_running_loop().time()
        deaths = self._deaths.setdefault(name, deque(maxlen=MAX_DEATHS))
        deaths.append(now)
        if len(deaths) == MAX_DEATHS and now - deaths[0] < DEATHS_WITHIN_S:
            raise FatalError(f"{name} died {MAX_DEATHS} times in a minute, last: {how_it_ended(code)} "
                             f"(log: {running.child.log_file})")  # fmt: skip
        pause_s = 0.1 * 4 ** (len(deaths) - 1)
        self._say(f"{name} {how_it_ended(code)}; starting it again")
        if await stop.wait_for(min(pause_s, 5.0)):
            return
        again = RunningChild(running.child)
        # In the place of the old one, so that the order of stopping stays.
        self._running[name] = again
        self._changed()
        if await again.wait_ready(START_S):
            self._say(f"{name} is ready again")

    async def stop(self) -> None:
        """Stops all, the last started first."""
        for running in reversed(list(self._running.values())):
            await running.stop()
        self._running.clear()
