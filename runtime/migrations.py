"""Brings a database to the schema of the running code: `await migrate(url, "services.shipment")`.

The migration scripts are found in the package's folder `migrations/`, installed or not; there is no alembic.ini. Every
process migrates its own database as it starts; where two start at once, one does the work while the other waits.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any, Final

from alembic import command, op
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Column, Connection, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import create_engine, write
from runtime.problems import FatalError

MIGRATION_WAIT_S: Final = 120
"""How long to wait on MariaDB for another process that is migrating the same database."""


class DatabaseUnusableError(FatalError):
    """The database cannot be reached, is newer than the code, or stays locked by another migration."""


async def migrate(url: str, package: str) -> None:
    """Runs the scripts of `<package>/migrations/versions` that the database has not seen, up to the newest.

    On SQLite all of them are one transaction. MariaDB commits after each statement that changes the schema, so scripts
    say `if_not_exists=True`, of indexes by themselves, and a run cut short is repeated. Raises DatabaseUnusableError; a
    failing script is a bug.
    """
    engine = create_engine(url)
    try:
        await _reach(engine)
        async with write(engine) as connection:
            await connection.run_sync(_upgrade, package)
    except CommandError as error:
        raise DatabaseUnusableError(f"database of {package}: {error}; is it from a newer version of Drover?") from error
    finally:
        await engine.dispose()


def add_missing_columns(table: str, *columns: Column[Any]) -> None:
    """For scripts: adds to a table those of the columns that it does not have. A run that was cut short between two
    goes on from there; SQLite knows no `if_not_exists` of a column.
    """
    known = {column["name"] for column in inspect(op.get_bind()).get_columns(table)}
    for column in columns:
        if column.name not in known:
            op.add_column(table, column)


async def _reach(engine: AsyncEngine) -> None:
    try:
        if engine.dialect.name == "sqlite" and engine.url.database:
            # Without aiosqlite, whose thread outlives a connection that fails and may report to a loop that has ended.
            with contextlib.closing(sqlite3.connect(engine.url.database)) as connection:
                connection.execute("PRAGMA user_version")
        async with engine.connect():
            pass
    except (DBAPIError, sqlite3.Error, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        where = engine.url.render_as_string(hide_password=True)
        raise DatabaseUnusableError(f"cannot open the database {where}: {reason}") from error


def _upgrade(connection: Connection, package: str) -> None:
    config = config_of(package)
    config.attributes["connection"] = connection
    if connection.dialect.name == "sqlite":
        command.upgrade(config, "head")  # BEGIN IMMEDIATE holds others off
        return
    # A lock of the server, by name: of the session, not of the transaction, and gone with it when we die.
    name = {"name": f"drover:migrate:{package}"[:64], "wait_s": MIGRATION_WAIT_S}
    if connection.execute(text("SELECT GET_LOCK(:name, :wait_s)"), name).scalar() != 1:
        raise DatabaseUnusableError(
            f"another process has been migrating the database of {package} for {MIGRATION_WAIT_S} s"
        )
    try:
        command.upgrade(config, "head")
    finally:
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name["name"]})


def config_of(package: str) -> Config:
    """Alembic's configuration for the scripts of `package`."""
    config = Config()
    config.set_main_option("script_location", f"{package}:migrations")
    config.set_main_option("path_separator", "os")
    return config
