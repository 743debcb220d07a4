"""The register of devices: dense numbers, given once, whoever asks and however many at a time."""

from __future__ import annotations

import asyncio
import pathlib

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from ingest.devices.device_name import DeviceName
from ingest.devices.registry import AutoProvisioning, BadDeviceNameError, Registry, UnknownDeviceError
from runtime.database import create_engine
from runtime.migrations import migrate
from tests.servers.mariadb import MariaDb


def name(device_id: str, tenant: str = "acme") -> DeviceName:
    return DeviceName(tenant, device_id)


@pytest.fixture
async def engine(tmp_path: pathlib.Path) -> AsyncEngine:
    url = f"sqlite+aiosqlite:///{tmp_path / 'ingest.db'}"
    await migrate(url, "ingest")
    return create_engine(url)


async def _gives_dense_numbers_to_all(url: str) -> None:
    await migrate(url, "ingest")
    engines = [create_engine(url) for _ in range(3)]
    registries = [Registry(engine, AutoProvisioning(enabled=True)) for engine in engines]
    try:
        asked = [{name(f"truck-{n}") for n in range(start, start + 30)} for start in range(0, 60, 10)]
        answers = await asyncio.gather(
            *(registries[n % 3].resolve(names) for n, names in enumerate(asked * 2)),
            *(registries[n % 3].provision(name(f"van-{n // 2}")) for n in range(20)),
        )
        numbers: dict[DeviceName, set[int]] = {}
        for answer in answers:
            pairs = answer.items() if isinstance(answer, dict) else [(answer.name, answer.number)]
            for device, number in pairs:
                numbers.setdefault(device, set()).add(number)
        assert all(len(found) == 1 for found in numbers.values())
        assert sorted(number for found in numbers.values() for number in found) == list(range(80 + 10))
        assert (await registries[0].get(name("van-3"))).number in numbers[name("van-3")]
    finally:
        for engine in engines:
            await engine.dispose()


async def test_dense_numbers_on_sqlite(tmp_path: pathlib.Path) -> None:
    await _gives_dense_numbers_to_all(f"sqlite+aiosqlite:///{tmp_path / 'ingest.db'}")


@pytest.mark.server
async def test_dense_numbers_on_mariadb(mariadb_server: MariaDb) -> None:
    await _gives_dense_numbers_to_all(mariadb_server.url)


async def test_names_are_told_apart_by_their_bytes_and_tenant(engine: AsyncEngine) -> None:
    registry = Registry(engine)
    devices = [await registry.provision(each) for each in (name("a"), name("A"), name("a", "other"))]
    assert [device.number for device in devices] == [0, 1, 2]
    assert await registry.resolve([name("A"), name("a", "nobody")]) == {name("A"): 1}
    await engine.dispose()


async def test_an_unknown_device_is_known_as_soon_as_it_is_provisioned(engine: AsyncEngine) -> None:
    registry = Registry(engine)
    assert await registry.resolve([name("a")]) == {}
    await registry.provision(name("a"))
    assert await registry.resolve([name("a")]) == {name("a"): 0}
    await engine.dispose()


async def test_another_process_sees_it_after_a_moment(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.devices.registry._UNKNOWN_FOR_S", 0.05)
    here, there = Registry(engine), Registry(engine)
    assert await there.resolve([name("a")]) == {}
    await here.provision(name("a"))
    await asyncio.sleep(0.06)
    assert await there.resolve([name("a")]) == {name("a"): 0}
    await engine.dispose()


async def test_provisioning_again_changes_only_the_display_name(engine: AsyncEngine) -> None:
    registry = Registry(engine)
    first = await registry.provision(name("a"), "Lorry A")
    assert await registry.provision(name("a")) == first
    assert registry.renamed == set()
    assert await registry.provision(name("a"), "Lorry B") == first._replace(display_name="Lorry B")
    assert registry.renamed == {0}
    assert (await registry.get(name("a"))).display_name == "Lorry B"
    await engine.dispose()


async def test_pages(engine: AsyncEngine) -> None:
    registry = Registry(engine)
    for device_id in ("c", "a", "b"):
        await registry.provision(name(device_id))
    await registry.provision(name("z", "other"))
    assert [device.name.device_id for device in await registry.page("acme", "", 2)] == ["a", "b"]
    assert [device.name.device_id for device in await registry.page("acme", "b", 2)] == ["c"]
    await engine.dispose()


@pytest.mark.parametrize("bad", ["", "a b", "x" * 65, "é", "a/b", "+", "a\n"])
async def test_bad_names(engine: AsyncEngine, bad: str) -> None:
    registry = Registry(engine)
    with pytest.raises(BadDeviceNameError):
        await registry.provision(name(bad))
    with pytest.raises(UnknownDeviceError):
        await registry.get(name(bad))
    await engine.dispose()
