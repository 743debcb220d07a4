"""Whether the clock that dates the log goes right. It is the server's that holds the log, and all timers run by it."""

from __future__ import annotations

import time
from typing import Any, Final

import redis.asyncio as redis

from runtime.durability import Finding
from runtime.partitioned_log import RedisStreamLog, offset_key

ENOUGH_S: Final = 2.0
"""What is not worth a word: a slow answer, or a clock that NTP is just moving."""


async def clock_findings(client: redis.Redis, partitions: int) -> list[Finding]:
    """One finding, or two; nothing is lost by either. Raises what `redis_client.AWAY` names when it does not answer."""
    asked_s = time.time()
    answer: Any = await client.time()
    here_s = (asked_s + time.time()) / 2
    there_s = int(answer[0]) + int(answer[1]) / 1e6
    log = RedisStreamLog(client, partitions)
    dated_s = max([offset_key(await log.end(partition))[0] / 1e3 for partition in range(partitions)])
    findings = []
    if abs(there_s - here_s) > ENOUGH_S:
        way = "ahead of" if there_s > here_s else "behind"
        text = (
            f"the clock of Redis is {_span(abs(there_s - here_s))} {way} this machine's; it dates the log, so timers "
            "fire by it and wrong device clocks are judged by it: let NTP set both"
        )
        findings.append(Finding("warn", "clock", text))
    if dated_s - there_s > ENOUGH_S:
        text = (
            f"the clock of Redis was set back: the log is dated {_span(dated_s - there_s)} ahead of it, and stands "
            "still until it has caught up; timers (signal lost, dwell, missed arrivals) wait that long, fixes do not"
        )
        findings.append(Finding("warn", "clock", text))
    return findings or [Finding("ok", "clock", "Redis, which dates the log, has this machine's time")]


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
