"""`python -m tests.services.tracking.dying POINT N`: the tracking service, killed as by kill -9 at the N-th time it
comes to a point. Run by test_crash.py.
"""

from __future__ import annotations

import os
import pathlib
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any

from services.tracking import event_sink, repository, snapshot_rounds, snapshots

POINTS: dict[str, tuple[Any, str, bool]] = {
    "before_events": (event_sink.EventSink, "_publish_group", False),
    "after_events": (event_sink.EventSink, "_publish_group", True),
    "inside_history": (repository, "_add_to_accounts", True),
    "after_history": (repository.HistoryRepository, "write", True),
    "after_snapshot": (snapshot_rounds.SnapshotRounds, "_write", True),
    "inside_snapshot": (snapshots.os, "fsync", True),
}


def dying(function: Callable[..., Any], left: int, *, after: bool) -> Callable[..., Any]:
    """The function, which kills this process at its `left`-th call."""
    calls = 0

    def die() -> None:
        nonlocal calls
        calls += 1
        if calls == left:
            os.kill(os.getpid(), signal.SIGKILL)

    async def asynchronous(*arguments: Any, **named: Any) -> Any:
        if not after:
            die()
        result = await function(*arguments, **named)
        if after:
            die()
        return result

    def synchronous(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        die()
        return result

    return synchronous if function is os.fsync else asynchronous


if __name__ == "__main__":
    owner, name, after = POINTS[sys.argv[1]]
    setattr(owner, name, dying(getattr(owner, name), int(sys.argv[2]), after=after))
    assert pathlib.Path("services").is_dir()
    runpy.run_module("services.tracking", run_name="__main__", alter_sys=False)
