"""How a process lives: one event loop, signals that ask it to stop, one line when a person must mend something."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog
import uvloop

from runtime import logs
from runtime.garbage_collection import calm_collector
from runtime.problems import FatalError
from runtime.settings import CommonSettings, Section, load_process

log = structlog.get_logger()


class Stop:
    """Asked to stop: set once, by a signal or by the process itself."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Asks. Asking again changes nothing."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether it was asked."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Returns when asked."""
        await self._event.wait()

    async def wait_for(self, seconds: float) -> bool:
        """Waits at most so long; returns whether it was asked."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _fatal_of(error: BaseException) -> FatalError | None:
    """The first FatalError in an error or a group of errors, if all of them are."""
    if isinstance(error, FatalError):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [_fatal_of(each) for each in error.exceptions]
        return next(iter(found)) if all(found) else None
    return None


def _allow_files() -> None:
    """As many open files as the system lets us have: the usual 1,024 are for those who use `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _supervise(main: Callable[[Stop], Awaitable[None]]) -> None:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(stop)


def run(name: str, main: Callable[[Stop], Awaitable[None]], settings: CommonSettings) -> NoReturn:
    """Runs `main` until it returns, then exits: 0 when asked to stop, 1 on a FatalError, 70 on a bug.

    A bug is not caught to go on: the traceback is logged, the process ends, and whoever supervises it starts it again.
    """
    logs.configure(settings.log_level, json=settings.log_json, process=name)
    _allow_files()
    calm_collector()
    try:
        uvloop.run(_supervise(main))
    except BaseException as error:
        fatal = _fatal_of(error)
        if fatal is not None:
            log.error("cannot go on", reason=str(fatal))  # noqa: TRY400 - a person reads one line, not a traceback
            sys.exit(1)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        log.exception("crashed", error=repr(error))
        sys.exit(70)
    log.info("stopped")
    # Everything is closed. Taking down an interpreter full of compiled kernels would take seconds more.
    logging.shutdown()
    with contextlib.suppress(OSError):  # a full disk
        sys.stderr.flush()
    os._exit(0)


def run_with_settings(
    name: str, section: str, model: type[Section], main: Callable[[Stop, CommonSettings, Section], Awaitable[None]]
) -> NoReturn:
    """`run` for a process that reads its settings first; a wrong one is the same one line."""
    try:
        common, own = load_process(section, model, os.environ)
    except FatalError as error:
        logs.configure("info", json=False, process=name)
        log.error("cannot go on", reason=str(error))  # noqa: TRY400
        sys.exit(1)
    run(name, lambda stop: main(stop, common, own), common)
