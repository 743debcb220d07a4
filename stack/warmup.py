"""`drover warmup`: compiles the kernels once, so that every process starts at once afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pathlib
import sys
import time
from collections.abc import Callable

import numba
import typer
from rich.console import Console

from runtime.problems import FatalError

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ("geofence", "tracking_core", "ingest", "gateway")

# Each in a process of its own, as many at a time as there are processors, the longest first: those share what they
# compile through numba's cache. All at once they would keep the longest from its processor.
PARTS = {
    "fixes": "from services.tracking.warm_up import fold; fold()",
    "definitions, samples and tags": "from services.tracking.warm_up import define; define()",
    "messages": "from ingest.warm_up import warm_up; warm_up()",
    "frames": "from gateway.warm_up import warm_up; warm_up()",
}
CHECK = "from services.tracking.warm_up import warm_up; warm_up()"
"""Two processes may have compiled one kernel for two kinds of argument and only one of them be in the cache: this finds
and compiles such a one, and takes a second otherwise.
"""


def _sources() -> str:
    """A name for the present state of all kernels and of the compiler."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _mark() -> pathlib.Path:
    """Beside numba's own cache."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    return (pathlib.Path(given) if given else ROOT / "stack" / "__pycache__") / f"kernels-{_sources()}.compiled"


async def _compile(name: str, code: str) -> None:
    """Runs one part; raises FatalError with the last line that it said."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
    try:
        said = (await process.communicate())[1].decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise FatalError(f"compiling the kernels of {name} failed: {said.strip().splitlines()[-1:]}")


async def ensure(say: Callable[[str], None]) -> None:
    """Compiles what is not compiled yet; cancelled, it stops at once. Raises FatalError with the compiler's last
    line.
    """
    mark = _mark()
    if mark.exists():
        return
    say("compiling kernels, once for this version: about a minute with two processors")
    started_s = time.monotonic()

    free = asyncio.Semaphore(max(2, os.cpu_count() or 2))

    async def compile_and_say(name: str, code: str) -> None:
        async with free:
            await _compile(name, code)
        say(f"kernels of {name} compiled after {time.monotonic() - started_s:.0f} s")

    try:
        async with asyncio.TaskGroup() as parts:
            for name, code in PARTS.items():
                parts.create_task(compile_and_say(name, code))
    except* FatalError as failed:
        raise failed.exceptions[0] from None
    await _compile("all together", CHECK)
    try:
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
    except OSError:
        return  # an installation that is read-only: numba caches elsewhere, and this question is asked each time


def command() -> None:
    """Compile the kernels now instead of at the first start."""
    console = Console(highlight=False)
    if _mark().exists():
        console.print("kernels are compiled")
        raise typer.Exit
    asyncio.run(ensure(console.print))
