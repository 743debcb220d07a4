"""The address of an empty database, once on SQLite and once on a real MariaDB."""

from __future__ import annotations

import pathlib

import pytest


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.server)])
def database_url(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """A test that takes it runs on both."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/test.db"
    url: str = request.getfixturevalue("mariadb_server").url
    return url
