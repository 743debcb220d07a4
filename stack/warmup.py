"""`drover warmup`: compiles the kernels once, so that every process starts at once afterwards."""

from __future__ import annotations

import asyncio
import hashlib
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

# Each in a process of its own, so that two compile at a time.
PARTS = {
    "tracking": "from services.tracking.warm_up import warm_up; warm_up()",
    "ingest": "from ingest.warm_up import warm_up; warm_up()",
    "gateway": "from gateway.warm_up import warm_up; warm_up()",
}


def _sources() -> str:
    """A name for the present state of all kernels and of the compiler."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _mark() -> pathlib.Path:
    """Beside numba's own cache."""
    return ROOT / "stack" / "__pycache__" / f"kernels-{_sources()}.compiled"


async def ensure(say: Callable[[str], None]) -> None:
    """Compiles what is not compiled yet; cancelled, it stops at once. Raises FatalError with the compiler's last
    line.
    """
    mark = _mark()
    if mark.exists():
        return
    say("compiling kernels, once for this version; it takes about a minute")
    started_s = time.monotonic()
    running: dict[str, asyncio.subprocess.Process] = {}
    try:
        for name, code in PARTS.items():
            running[name] = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, cwd=ROOT, stderr=asyncio.subprocess.PIPE
            )
        for name, process in running.items():
            said = (await process.communicate())[1].decode(errors="replace")
            if process.returncode != 0:
                raise FatalError(f"compiling the kernels of {name} failed: {said.strip().splitlines()[-1:]}")
            say(f"kernels of {name} compiled after {time.monotonic() - started_s:.0f} s")
    finally:
        for process in running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
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
