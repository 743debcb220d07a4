"""Fixtures for every room: real data and real servers."""

from __future__ import annotations

import os
import pathlib

import pytest

from tests.servers.mariadb import _mariadb, mariadb_server
from tests.servers.mosquitto import mosquitto
from tests.servers.redis import redis_server, redis_url

__all__ = ["_mariadb", "mariadb_server", "mosquitto", "redis_server", "redis_url"]

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def drover_data() -> pathlib.Path:
    """The folder of real data, which is not part of the repository."""
    folder = pathlib.Path(os.environ.get("DROVER_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there; set DROVER_DATA to the folder")
    return folder
