"""SQL on both databases: transactions, statements, migrations, and what happens when the database is away."""

from __future__ import annotations

import asyncio
import pathlib
import sys
import textwrap
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import TABLE_OPTIONS, AutoNumber, create_engine, insert_ignore, read, upsert, write
from runtime.migrations import DatabaseUnusableError, migrate
from runtime.problems import FatalError, Unavailable
from tests.servers.mariadb import MariaDb

ROOT = pathlib.Path(__file__).resolve().parents[2]
METADATA = sa.MetaData()
PALLETS = sa.Table(
    "pallets",
    METADATA,
    sa.Column("pallet_id", sa.String(128), primary_key=True),
    sa.Column("content", sa.LargeBinary(2**24), nullable=False),
    sa.Column("weight_kg", sa.Integer, nullable=False, server_default="0"),
    **TABLE_OPTIONS,
)
COUNTED = sa.Table("counted", METADATA, sa.Column("number", AutoNumber, primary_key=True), **TABLE_OPTIONS)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url)
    async with write(engine) as connection:
        await connection.run_sync(METADATA.create_all)
    yield engine
    await engine.dispose()


async def rows(engine: AsyncEngine) -> list[tuple[str, bytes, int]]:
    async with read(engine) as connection:
        return [tuple(row) for row in await connection.execute(sa.select(PALLETS).order_by(PALLETS.c.pallet_id))]


async def test_a_write_is_one_transaction(engine: AsyncEngine) -> None:
    async with write(engine) as connection:
        await connection.execute(PALLETS.insert(), [{"pallet_id": "a", "content": b"1"}])

    async def fail_half_way() -> None:
        async with write(engine) as connection:
            await connection.execute(PALLETS.insert(), [{"pallet_id": "b", "content": b"2"}])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_half_way()
    assert await rows(engine) == [("a", b"1", 0)]


async def test_a_read_sees_one_moment(engine: AsyncEngine) -> None:
    counting = sa.select(sa.func.count()).select_from(PALLETS)
    async with read(engine) as connection:
        assert (await connection.execute(counting)).scalar() == 0
        async with write(engine) as writer:
            await writer.execute(PALLETS.insert(), [{"pallet_id": "a", "content": b"1"}])
        assert (await connection.execute(counting)).scalar() == 0
    async with read(engine) as connection:
        assert (await connection.execute(counting)).scalar() == 1


async def test_identifiers_compare_by_their_bytes(engine: AsyncEngine) -> None:
    names = ["Truck", "truck", "trück", "🚚"]
    async with write(engine) as connection:
        await connection.execute(PALLETS.insert(), [{"pallet_id": name, "content": b""} for name in names])
    assert [name for name, _, _ in await rows(engine)] == sorted(names, key=str.encode)


async def test_insert_ignore_keeps_what_is_there(engine: AsyncEngine) -> None:
    async with write(engine) as connection:
        statement = insert_ignore(PALLETS, connection.dialect.name)
        await connection.execute(statement, [{"pallet_id": "a", "content": b"1"}, {"pallet_id": "b", "content": b"2"}])
        await connection.execute(statement, [{"pallet_id": "c", "content": b"4"}, {"pallet_id": "b", "content": b"3"}])
    assert await rows(engine) == [("a", b"1", 0), ("b", b"2", 0), ("c", b"4", 0)]


async def test_upsert_replaces_all_columns_or_those_named(engine: AsyncEngine) -> None:
    async with write(engine) as connection:
        everything = upsert(PALLETS, connection.dialect.name)
        await connection.execute(everything, [{"pallet_id": "a", "content": b"1", "weight_kg": 5}])
        await connection.execute(everything, [{"pallet_id": "a", "content": b"2" * 100_000, "weight_kg": 6}])
        weight = upsert(PALLETS, connection.dialect.name, columns=["weight_kg"])
        await connection.execute(weight, [{"pallet_id": "a", "content": b"-", "weight_kg": 7}])
    assert await rows(engine) == [("a", b"2" * 100_000, 7)]


async def test_auto_numbers_count_up(engine: AsyncEngine) -> None:
    async with write(engine) as connection:
        numbers = [(await connection.execute(COUNTED.insert())).inserted_primary_key for _ in range(3)]
    assert [tuple(number) for number in numbers if number is not None] == [(1,), (2,), (3,)]


async def test_concurrent_read_modify_write_loses_nothing(engine: AsyncEngine, database_url: str) -> None:
    async with write(engine) as connection:
        await connection.execute(PALLETS.insert(), [{"pallet_id": "a", "content": b""}])
    other = create_engine(database_url)

    async def add_one(engine: AsyncEngine) -> None:
        async with write(engine) as connection:
            query = sa.select(PALLETS.c.weight_kg).where(PALLETS.c.pallet_id == "a").with_for_update()
            weight_kg = (await connection.execute(query)).scalar_one()
            await asyncio.sleep(0.002)
            await connection.execute(PALLETS.update().values(weight_kg=weight_kg + 1))

    await asyncio.gather(*(add_one(each) for each in (engine, other) for _ in range(15)))
    await other.dispose()
    assert await rows(engine) == [("a", b"", 30)]


async def test_sqlite_is_set_to_lose_nothing(tmp_path: pathlib.Path) -> None:
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    async with read(engine) as connection:
        found = {
            name: (await connection.execute(sa.text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    await engine.dispose()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}


async def test_sqlite_writer_that_waits_too_long_is_unavailable(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.database.SQLITE_BUSY_TIMEOUT_MS", 50)
    url = f"sqlite+aiosqlite:///{tmp_path}/test.db"
    first, second = create_engine(url), create_engine(url)
    async with write(first):
        async with read(second):
            pass  # readers are not held up
        with pytest.raises(Unavailable, match="locked") as caught:
            async with write(second):
                raise AssertionError("two writers at once")
    assert caught.value.code == "database_unavailable"
    await first.dispose()
    await second.dispose()


async def test_a_mistaken_statement_stays_a_bug(engine: AsyncEngine) -> None:
    with pytest.raises(sa.exc.DBAPIError):
        async with read(engine) as connection:
            await connection.execute(sa.text("SELECT nothing FROM nowhere"))


@pytest.mark.server
async def test_mariadb_speaks_as_agreed(mariadb_server: MariaDb) -> None:
    engine = create_engine(mariadb_server.url)
    async with write(engine) as connection:
        found = (await connection.execute(sa.text("SELECT @@tx_isolation, @@character_set_client"))).one()
        await connection.execute(sa.text("CREATE TABLE t (n INT)"))

    async def write_while_reading() -> None:
        async with read(engine) as connection:
            await connection.execute(sa.text("INSERT INTO t VALUES (1)"))

    with pytest.raises(sa.exc.DBAPIError, match="READ ONLY"):
        await write_while_reading()
    async with write(engine) as connection:  # the same pooled connection
        await connection.execute(sa.text("INSERT INTO t VALUES (2)"))
    await engine.dispose()
    assert tuple(found) == ("READ-COMMITTED", "utf8mb4")


@pytest.mark.server
async def test_mariadb_away_is_unavailable_and_comes_back(mariadb_server: MariaDb) -> None:
    engine = create_engine(mariadb_server.url)
    async with read(engine) as connection:
        await connection.execute(sa.text("SELECT 1"))
    mariadb_server.kill()
    try:
        with pytest.raises(Unavailable) as caught:
            async with read(engine):
                pass
        assert caught.value.code == "database_unavailable"
        with pytest.raises(DatabaseUnusableError, match=r"cannot open the database mysql\+asyncmy://drover:\*\*\*@"):
            await migrate(mariadb_server.url, "services.shipment")
    finally:
        mariadb_server.start()
    async with read(engine) as connection:
        assert (await connection.execute(sa.text("SELECT 1"))).scalar() == 1
    await engine.dispose()


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match="postgresql"):
        create_engine("postgresql+asyncpg://localhost/x")


async def test_a_full_database_is_unavailable(engine: AsyncEngine) -> None:
    async def fill() -> None:
        async with write(engine) as connection:
            if engine.dialect.name == "sqlite":
                await connection.exec_driver_sql("PRAGMA max_page_count = 1")
                statement = "INSERT INTO pallets (pallet_id, content) VALUES ('a', zeroblob(1000000))"
            else:
                await connection.exec_driver_sql("SET max_heap_table_size = 16384")
                await connection.exec_driver_sql("CREATE TEMPORARY TABLE small (word CHAR(200)) ENGINE = MEMORY")
                statement = "INSERT INTO small SELECT 'a' FROM seq_1_to_10000"
            await connection.exec_driver_sql(statement)

    with pytest.raises(Unavailable, match="full"):
        await fill()
    assert await rows(engine) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Transport does not expose socket instance", Unavailable),  # asyncmy, of a connection reset as it is made
        ("unable to perform operation on <TCPTransport closed=True>; the handler is closed", Unavailable),  # uvloop
        ("anything else", RuntimeError),
    ],
)
async def test_a_connection_that_is_reset_as_it_is_made_is_unavailable(
    words: str, expected: type[Exception], tmp_path: pathlib.Path
) -> None:
    engine = create_engine(f"sqlite+aiosqlite:///{tmp_path}/test.db")

    def reset(*_: object) -> None:
        raise RuntimeError(words)

    sa.event.listen(engine.sync_engine, "do_connect", reset)
    with pytest.raises(expected):
        async with read(engine):
            pass
    await engine.dispose()


@pytest.mark.server
async def test_a_database_that_takes_no_writes_is_unavailable(mariadb_server: MariaDb) -> None:
    engine = create_engine(mariadb_server.url)
    async with write(engine) as connection:
        await connection.run_sync(METADATA.create_all)
    mariadb_server.sql("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(Unavailable, match="read-only"):
            async with write(engine) as connection:
                await connection.execute(PALLETS.insert(), [{"pallet_id": "a", "content": b"1"}])
    finally:
        mariadb_server.sql("SET GLOBAL read_only = 0")
    assert await rows(engine) == []
    await engine.dispose()


TABLES = """
    import sqlalchemy as sa
    metadata = sa.MetaData()
"""
ENV = """
    from runtime.migrations_env import run
    from {package}.tables import metadata
    run(metadata)
"""
FIRST = """
    import time
    import sqlalchemy as sa
    from alembic import op
    revision, down_revision = "0001", None
    def upgrade():
        op.create_table("crates", sa.Column("crate_id", sa.Integer, primary_key=True), if_not_exists=True)
        time.sleep(1.0)
"""
SECOND = """
    import sqlalchemy as sa
    from alembic import op
    revision, down_revision = "0002", "0001"
    def upgrade():
        op.execute("INSERT INTO crates (crate_id) VALUES (1)")
"""
MIGRATE = """
import asyncio, sys
from runtime.migrations import migrate
asyncio.run(migrate(sys.argv[1], sys.argv[2]))
"""


@pytest.fixture
def package(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with two migrations, outside of the repository, as an installed one would be."""
    name = "crate_" + "".join(letter for letter in tmp_path.name if letter.isalnum()).lower()
    versions = tmp_path / name / "migrations" / "versions"
    versions.mkdir(parents=True)
    for path, text in {
        tmp_path / name / "__init__.py": "",
        tmp_path / name / "tables.py": TABLES,
        tmp_path / name / "migrations" / "env.py": ENV.format(package=name),
        versions / "0001_first.py": FIRST,
        versions / "0002_second.py": SECOND,
    }.items():
        path.write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


async def _crates(url: str) -> list[int]:
    engine = create_engine(url)
    async with read(engine) as connection:
        found = [row[0] for row in await connection.execute(sa.text("SELECT crate_id FROM crates"))]
    await engine.dispose()
    return found


async def test_migrates_to_the_newest_once(database_url: str, package: str) -> None:
    await migrate(database_url, package)
    await migrate(database_url, package)
    assert await _crates(database_url) == [1]


async def test_processes_that_start_at_once_do_not_clash(
    database_url: str, package: str, tmp_path: pathlib.Path
) -> None:
    starts = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", MIGRATE, database_url, package,
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}"}, stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [(await start.communicate())[1].decode() for start in starts]
    assert [start.returncode for start in starts] == [0, 0], said
    assert await _crates(database_url) == [1]


async def test_a_newer_database_is_one_clear_line(database_url: str, package: str) -> None:
    await migrate(database_url, package)
    engine = create_engine(database_url)
    async with write(engine) as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '0099'"))
    await engine.dispose()
    with pytest.raises(FatalError, match="newer version of Drover") as caught:
        await migrate(database_url, package)
    assert "\n" not in str(caught.value)


async def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DatabaseUnusableError, match="unable to open database file"):
        await migrate(f"sqlite+aiosqlite:///{tmp_path}/nowhere/x.db", "services.shipment")


@pytest.mark.parametrize("package", ["ingest", "services.shipment", "services.tracking"])
async def test_scripts_that_were_cut_short_before_they_were_noted_run_again(database_url: str, package: str) -> None:
    await migrate(database_url, package)
    engine = create_engine(database_url)
    try:
        async with write(engine) as connection:
            newest = (await connection.execute(sa.text("SELECT version_num FROM alembic_version"))).scalar_one()
            await connection.execute(sa.text("DELETE FROM alembic_version"))
        await migrate(database_url, package)
        async with read(engine) as connection:
            assert (await connection.execute(sa.text("SELECT version_num FROM alembic_version"))).scalar_one() == newest
    finally:
        await engine.dispose()
