"""A handful of the schedules of `make chaos`: between them every kind of victim, both databases, and bad weather."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.run import run
from tests.chaos.schedule import draw
from tests.chaos.stage import Stage

pytestmark = [pytest.mark.server, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

ON_SQLITE = (33, 34)
ON_MARIADB = (27, 39)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with Stage(tmp_path_factory.mktemp("chaos"), "sqlite").started() as stage:
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_mariadb(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with Stage(tmp_path_factory.mktemp("chaos"), "mariadb").started() as stage:
        yield stage


async def _check(seed: int, stage: Stage) -> None:
    schedule = draw(seed)
    verdict = await run(schedule, stage)
    assert verdict.is_sound, f"{verdict}\n{schedule}\n  once more: python -m tests.chaos --seed {seed}"


@pytest.mark.parametrize("seed", ON_SQLITE)
async def test_on_sqlite(seed: int, on_sqlite: Stage) -> None:
    await _check(seed, on_sqlite)


@pytest.mark.parametrize("seed", ON_MARIADB)
async def test_on_mariadb(seed: int, on_mariadb: Stage) -> None:
    await _check(seed, on_mariadb)
