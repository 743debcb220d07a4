"""Databases with the schema: SQLite always, MariaDB as well where a test asks for `database_url`."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import create_engine, read
from runtime.migrations import migrate
from services.tracking.repository import history_url


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.server)])
async def database_url(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """An empty database with our tables."""
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path / 'tracking.db'}"
    else:
        url = request.getfixturevalue("mariadb_server").url
    await migrate(url, "services.tracking")
    return url


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """As the history writer uses it."""
    made = create_engine(history_url(database_url))
    yield made
    await made.dispose()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for something that others do; fails when it takes too long."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for knows nothing of tests
            await asyncio.sleep(0.005)


async def rows(engine: AsyncEngine, query: str) -> list[tuple[Any, ...]]:
    """What a query answers."""
    async with read(engine) as connection:
        return [tuple(row) for row in await connection.execute(text(query))]
