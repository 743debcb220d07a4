"""Fixtures for every room: real data and real servers."""

from __future__ import annotations

import os
import pathlib

# Tests hold gRPC channels and start processes: gRPC's handling of fork() can abort a child before its exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import ARGUMENTS, EXECUTABLE
from tests.servers.mariadb import _mariadb, mariadb_server
from tests.servers.mosquitto import mosquitto
from tests.servers.redis import redis_server, redis_url

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["_mariadb", "mariadb_server", "mosquitto", "redis_server", "redis_url"]

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def drover_data() -> pathlib.Path:
    """The folder of real data, which is not part of the repository."""
    folder = pathlib.Path(os.environ.get("DROVER_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there; set DROVER_DATA to the folder")
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests, as Playwright allows only one of itself; each test gets its own context."""
    from playwright.sync_api import sync_playwright

    page = ROOT / "gateway" / "live_map" / "dist" / "index.html"
    assert page.is_file(), "the page is not built: run `make web` first"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        yield browser
        browser.close()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Under DROVER_NO_SKIPS, as in CI, a skipped test is a failed run: what was not tested is not known to work."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or exitstatus != pytest.ExitCode.OK or not os.environ.get("DROVER_NO_SKIPS"):
        return
    if reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
