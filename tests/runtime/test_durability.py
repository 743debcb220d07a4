"""What a crash could lose, asked of real servers whose settings are changed."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from runtime import redis_client
from runtime.database import create_engine
from runtime.durability import Finding, database_losses, log_losses, redis_losses
from stack.ports import any_free
from tests.servers.mariadb import MariaDb
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.server


@pytest.fixture
def own_redis(tmp_path: pathlib.Path) -> Iterator[RedisServer]:
    """A Redis whose settings may be changed."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


async def _of(server: RedisServer, *settings: str) -> list[Finding]:
    for setting in settings:
        assert server.command_line(f"CONFIG SET {setting}") == "+OK"
    async with redis_client.connect(server.url) as client:
        return await redis_losses(client)


async def test_redis(own_redis: RedisServer) -> None:
    assert [finding.level for finding in await _of(own_redis)] == ["ok"]
    (finding,) = await _of(own_redis, "appendfsync everysec")
    assert finding.level == "warn"
    assert "`appendfsync always`" in finding.text
    found = await _of(own_redis, "maxmemory 1gb", "maxmemory-policy allkeys-lru")
    assert [finding.level for finding in found] == ["warn", "fail"]
    assert "`maxmemory-policy noeviction`" in found[1].text
    found = await _of(own_redis, "maxmemory 0", "appendonly no")
    assert [finding.level for finding in found] == ["fail"]
    assert "`appendonly yes`" in found[0].text


async def test_a_redis_that_hides_its_settings(own_redis: RedisServer) -> None:
    assert own_redis.command_line("ACL SETUSER default -config") == "+OK"
    async with redis_client.connect(own_redis.url) as client:
        (finding,) = await redis_losses(client)
    assert finding.level == "warn"
    assert "cannot be read" in finding.text


async def test_databases(database_url: str) -> None:
    engine = create_engine(database_url)
    try:
        finding = await database_losses(engine, "history")
        assert (finding.level, finding.what) == ("ok", "history")
    finally:
        await engine.dispose()


async def test_a_mariadb_that_forgets(mariadb_server: MariaDb) -> None:
    assert mariadb_server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2").returncode == 0
    engine = create_engine(mariadb_server.url)
    try:
        finding = await database_losses(engine, "history")
    finally:
        await engine.dispose()
        assert mariadb_server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1").returncode == 0
    assert finding.level == "warn"
    assert "`innodb_flush_log_at_trx_commit = 1`" in finding.text
    assert "drover:drover@" not in finding.text


async def test_a_database_that_is_away() -> None:
    engine = create_engine(f"mysql+asyncmy://drover:secret@127.0.0.1:{any_free()}/drover")
    finding = await database_losses(engine, "history")
    await engine.dispose()
    assert finding.level == "fail"
    assert "secret" not in finding.text


def test_only_what_is_wrong_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    log_losses([Finding("ok", "redis", "sound"), Finding("fail", "mqtt", "set `persistence true`")])
    told = "".join(capfd.readouterr())
    assert "set `persistence true`" in told
    assert "sound" not in told
