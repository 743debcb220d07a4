"""SQL for any process: SQLite (aiosqlite) on one machine, MariaDB or MySQL (asyncmy) in production; the URL chooses.

A repository takes a `ReadConnection` or a `WriteConnection`: two types over one SQLAlchemy connection, so that mypy
refuses a write in a place that was only given a read. Every write is one transaction, from `write` to the end of its
block. A database that is away, busy or full is the Problem `Unavailable`: trying the whole block again may help.
The schema is the business of `runtime/migrations.py`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NewType

from sqlalchemy import BigInteger, Connection, Integer, Table, event, text
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql.dml import Insert

from runtime.problems import Unavailable

ReadConnection = NewType("ReadConnection", AsyncConnection)
WriteConnection = NewType("WriteConnection", ReadConnection)

SQLITE_BUSY_TIMEOUT_MS: Final = 10_000
"""How long a SQLite writer waits for another process's transaction before it fails."""

POOL_SIZE: Final = 8
POOL_RECYCLE_S: Final = 1_800
"""Servers close idle connections (MariaDB after 8 hours, proxies much sooner); ours are younger than that."""

TABLE_OPTIONS: Final[dict[str, Any]] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}
"""For every `Table` and `op.create_table`: identifiers compare by their bytes, as they do in SQLite. MariaDB's default
collation would take `Truck-1` and `truck-1` for one."""

AutoNumber: Final = BigInteger().with_variant(Integer, "sqlite")
"""For an `autoincrement=True` primary key: SQLite counts only columns of the type INTEGER, which hold 64 bits there."""

AWAY_MARIADB: Final = frozenset({
    1040, 1053, 1205, 1213, 1927, 2002, 2003, 2006, 2013, 2014,  # away, stopping, too busy, or we lost a deadlock
    3, 1021, 1026, 1030, 1114, 1290, 1836,  # its disk, or a table, is full; or it takes no writes for now
})  # fmt: skip
"""Error numbers of a server that answers better when it is asked again, by itself or once a person has helped it."""

AWAY_SQLITE: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL})

_CLOSED_AT_ONCE: Final = ("does not expose socket instance", "the handler is closed")
"""What asyncmy and uvloop say, as RuntimeError, of a connection that the server closes while it is being set up."""

_WRITES: Final = "drover_writes"


def create_engine(url: str) -> AsyncEngine:
    """An engine for `sqlite+aiosqlite:///path` or `mysql+asyncmy://user:password@host:port/database`.

    Connects on first use only. SQLite: write-ahead log with every commit synced to disk, foreign keys on.
    MariaDB: utf8mb4, READ COMMITTED, connections tested before use. Raises ValueError for another scheme.
    """
    parsed = make_url(url)
    if parsed.drivername == "sqlite+aiosqlite":
        engine = create_async_engine(parsed)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    if parsed.drivername in {"mysql+asyncmy", "mariadb+asyncmy"}:
        return create_async_engine(
            parsed.update_query_dict({"charset": "utf8mb4"}),
            isolation_level="READ COMMITTED",
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_pre_ping=True,
            pool_recycle=POOL_RECYCLE_S,
        )
    raise ValueError(f"database URL: {parsed.drivername!r} is neither sqlite+aiosqlite nor mysql+asyncmy")


def _prepare_sqlite(driver_connection: Any, _record: object) -> None:
    # None: the driver begins nothing by itself, so that DDL and reads belong to our transactions too.
    driver_connection.isolation_level = None
    cursor = driver_connection.cursor()
    # First the patience, then what may need it: two processes that open a new file at once both set its journal mode.
    cursor.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}")
    _write_ahead(cursor)
    # WAL with NORMAL may lose the last commits on power failure; what we commit has been acknowledged to a device.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """SQLite does not always wait here, whatever the patience: not where another process is just setting the mode of a
    new file too, or is the last to close one and clears up.
    """
    deadline_s = time.monotonic() + SQLITE_BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not is_away(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once, without waiting, when another process wrote in
    # between; so whoever will write takes the write lock first.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@asynccontextmanager
async def read(engine: AsyncEngine) -> AsyncIterator[ReadConnection]:
    """One consistent look: a connection whose transaction is rolled back at the end. Raises Unavailable."""
    with _away_is_unavailable():
        async with engine.connect() as connection:
            if engine.dialect.name != "sqlite":
                # For the transaction that follows only: all its statements see the same moment, as they do in SQLite.
                await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield ReadConnection(connection)


@asynccontextmanager
async def write(engine: AsyncEngine) -> AsyncIterator[WriteConnection]:
    """One transaction: committed when the block ends, rolled back when it raises. Raises Unavailable.

    When the connection is lost during the commit itself, nobody knows whether it took place: a block that is tried
    again must be harmless the second time.
    """
    with _away_is_unavailable():
        async with engine.connect() as connection:
            await connection.execution_options(**{_WRITES: True})
            async with connection.begin():
                yield WriteConnection(ReadConnection(connection))


@contextmanager
def _away_is_unavailable() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated or is_away(error.orig):
            raise Unavailable(f"the database does not answer: {error.orig}", code="database_unavailable") from error
        raise
    except RuntimeError as error:
        if not any(words in str(error) for words in _CLOSED_AT_ONCE):
            raise
        raise Unavailable("the database closes connections as they are made", code="database_unavailable") from error
    except PoolTimeoutError as error:
        raise Unavailable("all database connections are in use", code="database_unavailable") from error


async def trouble(engine: AsyncEngine) -> str | None:
    """Why the database cannot be read now, in one line; None when it answers. A readiness check."""
    try:
        async with read(engine) as connection:
            await connection.execute(text("SELECT 1"))
    except Unavailable as problem:
        return str(problem)
    except (DBAPIError, OSError) as error:
        return f"the database does not answer: {error}"
    return None


def is_away(error: BaseException | None) -> bool:
    """Whether a driver's error says that the database, not the statement, is the trouble."""
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in AWAY_SQLITE
    return error is not None and bool(error.args) and error.args[0] in AWAY_MARIADB


def insert_ignore(table: Table, dialect_name: str) -> Insert:
    """An INSERT that leaves a row alone whose key is there already. `dialect_name` is `connection.dialect.name`.

    Its `rowcount` counts the new rows on SQLite, and all rows on MariaDB. Not `INSERT IGNORE`, which also swallows
    values cut short and broken foreign keys, and costs a SHOW WARNINGS for each duplicate.
    """
    if dialect_name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    key = next(iter(table.primary_key.columns))
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


def upsert(table: Table, dialect_name: str, *, columns: Iterable[str] | None = None) -> Insert:
    """An INSERT that, where the primary key is there already, sets `columns` (all outside of the key by default).

    On MariaDB any unique key counts, not only the primary one.
    """
    keys = [column.name for column in table.primary_key.columns]
    names = [column.name for column in table.columns if column.name not in keys] if columns is None else list(columns)
    if dialect_name == "sqlite":
        lite = sqlite.insert(table)
        return lite.on_conflict_do_update(index_elements=keys, set_={name: lite.excluded[name] for name in names})
    maria = mysql.insert(table)
    return maria.on_duplicate_key_update({name: maria.inserted[name] for name in names})
