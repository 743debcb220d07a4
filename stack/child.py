"""A process that the stack starts: what to run, where it writes, and how it says that it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence

Ready = Callable[[], Awaitable[bool]]

_PR_SET_PDEATHSIG = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Child:
    """One process of the stack."""

    name: str
    command: Sequence[str]
    log_file: pathlib.Path
    ready: Ready
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stop_s: float = 15.0
    """How long it may take to stop when asked."""
    once: bool = False
    """Whether its end is expected, and no reason to start it again."""


def _die_with_parent() -> None:
    # Linux only: when the stack itself is killed with -9, its children must not live on and hold the ports.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class RunningChild:
    """A child that was started."""

    def __init__(self, child: Child) -> None:
        self.child = child
        child.log_file.parent.mkdir(parents=True, exist_ok=True)
        if child.log_file.exists():
            # What the run before said stays beside, and is not taken for what this one says.
            child.log_file.replace(child.log_file.with_suffix(".before.log"))
        with child.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                list(child.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **child.environment},
                # Ctrl-C reaches the stack alone, which then stops its children in order.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one thread
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """How it ended; None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    def last_words(self) -> str:
        """The last line it logged, for the one line that a person reads."""
        with contextlib.suppress(OSError):
            lines = [line for line in self.child.log_file.read_text(errors="replace").splitlines() if line.strip()]
            for line in reversed(lines[-40:]):
                if "cannot go on" in line:
                    return line.partition("reason=")[2].strip("'\"") or line
            if lines:
                return lines[-1].strip()
        return "it said nothing"

    async def wait_ready(self, seconds: float) -> bool:
        """Whether it got ready within so long; returns at once when it ended."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            if self.exit_code() is not None:
                return False
            if await self.child.ready():
                return True
            await asyncio.sleep(0.05)
        return False

    async def stop(self) -> None:
        """Asks it to stop, and insists when its time is over."""
        if self.exit_code() is not None:
            return
        self._process.terminate()
        deadline = asyncio.get_running_loop().time() + self.child.stop_s
        while self.exit_code() is None:
            if asyncio.get_running_loop().time() > deadline:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
                return
            await asyncio.sleep(0.02)
