"""What a crash could lose, read from the settings of Redis and of a database; one finding each, with its cure.

The same findings are printed by whoever examines an installation and logged, loudly, by whoever starts on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import redis.asyncio as redis
import sqlalchemy
import structlog
from redis.exceptions import ResponseError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

log = structlog.get_logger()

Level = Literal["ok", "warn", "fail"]

_FULL: Final = 2  # SQLite's PRAGMA synchronous = FULL


class Finding(NamedTuple):
    """What was found about one thing, in one line."""

    level: Level
    what: str
    text: str


def log_losses(findings: Iterable[Finding]) -> None:
    """Says in the log what is not sound, in the same words."""
    for finding in findings:
        if finding.level != "ok":
            log.warning("data could be lost", at=finding.what, finding=finding.text)


async def redis_losses(client: redis.Redis) -> list[Finding]:
    """What a Redis that holds a log could lose. Raises what `redis_client.AWAY` names when it does not answer."""
    try:
        settings = {name: await _setting(client, name) for name in ("appendonly", "appendfsync", "maxmemory")}
        policy = await _setting(client, "maxmemory-policy")
        status: dict[str, Any] = await client.info("persistence")
    except ResponseError as error:
        return [Finding("warn", "redis", f"its settings cannot be read, so nobody knows what a crash loses: {error}")]
    findings = []
    if settings["appendonly"] != "yes":
        findings.append(Finding("fail", "redis", "a crash loses the telemetry log: set `appendonly yes`"))
    elif status.get("aof_last_write_status") != "ok":
        findings.append(Finding("fail", "redis", "the append-only file cannot be written: look at its disk"))
    elif settings["appendfsync"] == "always":
        findings.append(Finding("ok", "redis", "every append is on disk before it is acknowledged"))
    else:
        text = "a power cut or a crash of Redis can lose two seconds of the log: set `appendfsync always`"
        findings.append(Finding("warn", "redis", text))
    if settings["maxmemory"] != "0" and policy != "noeviction":
        text = "full memory would drop log entries: set `maxmemory-policy noeviction`"
        findings.append(Finding("fail", "redis", text))
    return findings


async def _setting(client: redis.Redis, name: str) -> str:
    answer: dict[Any, Any] = await client.config_get(name)
    value = answer.get(name.encode(), answer.get(name, b""))
    return value.decode() if isinstance(value, bytes) else str(value)


async def database_losses(engine: AsyncEngine, what: str) -> Finding:
    """What a database could lose of what it committed; `fail` when it does not answer."""
    shown = engine.url.render_as_string(hide_password=True)
    try:
        async with engine.connect() as connection:
            cure = await (_sqlite_cure(connection) if engine.dialect.name == "sqlite" else _mariadb_cure(connection))
    except (SQLAlchemyError, OSError) as error:
        return Finding("fail", what, f"{shown}: {str(error).splitlines()[0]}")
    if cure is None:
        return Finding("ok", what, f"{shown}: what is committed is on disk")
    return Finding("warn", what, f"{shown}: a power cut loses the last commits: {cure}")


async def _sqlite_cure(connection: Any) -> str | None:
    level = (await connection.execute(sqlalchemy.text("PRAGMA synchronous"))).scalar_one()
    return None if level >= _FULL else "set PRAGMA synchronous = FULL"


async def _mariadb_cure(connection: Any) -> str | None:
    query = "SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite"
    flush, doublewrite = (await connection.execute(sqlalchemy.text(query))).one()
    if int(flush) != 1:
        return "set `innodb_flush_log_at_trx_commit = 1`"
    return None if str(doublewrite).lower() not in {"0", "off"} else "set `innodb_doublewrite = ON`"
