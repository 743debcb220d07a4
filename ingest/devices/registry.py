"""The register of devices: names to dense numbers, and back.

Names and numbers that were asked for are kept in memory: as many as devices were provisioned, never more. Names that
were not found are kept for a short while, so that a flood from an unknown device does not become a flood of queries;
the table of these is bounded and is emptied when full.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from ingest.devices.device_name import DeviceName, is_device_id, is_tenant
from ingest.tables import devices, next_device
from runtime.database import ReadConnection, WriteConnection, read, write
from runtime.metrics import Counter, Gauge
from runtime.problems import Invalid, NotFound, Unavailable

log = structlog.get_logger()

_PROVISIONED: Final = Counter("drover_ingest_devices_provisioned", "Devices given a number by this process.")
_KNOWN: Final = Gauge("drover_ingest_devices_known", "Devices that this process holds in memory.")

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
_UNKNOWN_FOR_S: Final = 2.0
_MAX_UNKNOWN: Final = 100_000
_CHUNK: Final = 500
MAX_DISPLAY_NAME_LENGTH: Final = 200


class Device(NamedTuple):
    """One row of the register."""

    number: int
    name: DeviceName
    display_name: str
    provisioned_at_us: int


class BadDeviceNameError(Invalid):
    """A name that no device can have."""

    code = "bad_device_id"


class UnknownDeviceError(NotFound):
    """A device that is not provisioned."""

    code = "unknown_device"


class RegistryUnavailableError(Unavailable):
    """Stopped before the database said who a device is: its messages must not be acknowledged."""

    code = "registry_unavailable"


class AutoProvisioning(NamedTuple):
    """Whose devices are provisioned when they first send. With `enabled` and no tenants: everybody's."""

    enabled: bool = False
    tenants: frozenset[str] = frozenset()

    def allows(self, tenant: str) -> bool:
        """Whether devices of this tenant may be provisioned so."""
        return self.enabled and (not self.tenants or tenant in self.tenants)


class Registry:
    """Devices in SQL, with what was asked for in memory. Several processes may share the tables."""

    def __init__(self, engine: AsyncEngine, auto: AutoProvisioning = AutoProvisioning()) -> None:  # noqa: B008 - frozen
        self._engine: Final = engine
        self._auto: Final = auto
        self._devices: Final[dict[int, Device]] = {}
        self._numbers: Final[dict[str, dict[bytes, int]]] = {}
        self._unknown_until_s: Final[dict[DeviceName, float]] = {}
        self._provisioning: Final = asyncio.Lock()
        self._closing: Final = asyncio.Event()
        self.wrong: str | None = None
        """What keeps names from being looked up now, in one line."""
        self.renamed: Final[set[int]] = set()
        """Numbers whose display name changed; the batcher announces them again, and empties this."""

    def device(self, number: int) -> Device:
        """The device of a number that this process gave out. Raises KeyError."""
        return self._devices[number]

    def close(self) -> None:
        """Ends waiting for a database that is away."""
        self._closing.set()

    async def resolve(self, names: Collection[DeviceName]) -> dict[DeviceName, int]:
        """The numbers of the devices that are provisioned, or may be automatically. Names must be well-formed.

        Waits while the database is away. Raises RegistryUnavailableError when closed meanwhile.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                found = await self._resolve(names)
            except (Unavailable, OperationalError, InterfaceError, OSError) as error:
                self.wrong = f"the register of devices does not answer: {error}"
                log.warning("the register does not answer, trying again", error=str(error), pause_s=pause_s)
            else:
                self.wrong = None
                return found
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause_s)
            if self._closing.is_set():
                raise RegistryUnavailableError("the register of devices does not answer")
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _resolve(self, names: Collection[DeviceName]) -> dict[DeviceName, int]:
        found, missing = self._in_memory(names)
        if missing:
            async with read(self._engine) as connection:
                self._remember(await _select(connection, missing))
            more, missing = self._in_memory(missing)
            found |= more
        provisionable = [name for name in missing if self._auto.allows(name.tenant)]
        if provisionable:
            for device in await self._provision(dict.fromkeys(provisionable, "")):
                found[device.name] = device.number
        now_s = time.monotonic()
        if len(self._unknown_until_s) + len(missing) > _MAX_UNKNOWN:
            self._unknown_until_s.clear()
        for name in missing:
            if name not in found:
                self._unknown_until_s[name] = now_s + _UNKNOWN_FOR_S
        return found

    async def provision(self, name: DeviceName, display_name: str = "") -> Device:
        """The device, new or not; a display name that is not empty replaces the old one. Raises BadDeviceNameError."""
        if not is_tenant(name.tenant) or not is_device_id(name.device_id):
            raise BadDeviceNameError("a device id has 1 to 64 letters, digits, or _ - . :")
        if len(display_name) > MAX_DISPLAY_NAME_LENGTH:
            raise Invalid("a display name has at most 200 characters", code="display_name_too_long")
        (device,) = await self._provision({name: display_name})
        if display_name and device.display_name != display_name:
            async with write(self._engine) as connection:
                await connection.execute(
                    update(devices).where(devices.c.device_number == device.number).values(display_name=display_name)
                )
            device = device._replace(display_name=display_name)
            self._remember([device])
            self.renamed.add(device.number)
        return device

    async def get(self, name: DeviceName) -> Device:
        """One device. Raises UnknownDeviceError."""
        async with read(self._engine) as connection:
            found = await _select(connection, [name])
        if not found:
            raise UnknownDeviceError(f"device {name.device_id!r} is not provisioned")
        return found[0]

    async def page(self, tenant: str, after_id: str, size: int) -> list[Device]:
        """Up to `size` devices of a tenant whose id comes after `after_id`, in order of the id's bytes."""
        query = (
            select(devices)
            .where(devices.c.tenant == tenant, devices.c.device_id > after_id)
            .order_by(devices.c.device_id)
            .limit(size)
        )
        async with read(self._engine) as connection:
            return [_device(row) for row in await connection.execute(query)]

    def _in_memory(self, names: Iterable[DeviceName]) -> tuple[dict[DeviceName, int], list[DeviceName]]:
        """What memory knows, and what to ask the database; names lately not found are in neither."""
        found: dict[DeviceName, int] = {}
        missing: list[DeviceName] = []
        now_s = time.monotonic()
        for name in names:
            number = self._numbers.get(name.tenant, {}).get(name.device_id.encode())
            if number is not None:
                found[name] = number
            elif self._unknown_until_s.get(name, 0.0) <= now_s:
                missing.append(name)
        return found, missing

    def _remember(self, found: Iterable[Device]) -> None:
        for device in found:
            self._devices[device.number] = device
            self._numbers.setdefault(device.name.tenant, {})[device.name.device_id.encode()] = device.number
            self._unknown_until_s.pop(device.name, None)
        _KNOWN.set(len(self._devices))

    async def _provision(self, names: Mapping[DeviceName, str]) -> list[Device]:
        # One at a time in this process; a second process that was faster shows as an IntegrityError, and is looked up.
        async with self._provisioning:
            while True:
                try:
                    async with write(self._engine) as connection:
                        known = await _select(connection, list(names))
                        taken = {device.name for device in known}
                        new = {name: text for name, text in names.items() if name not in taken}
                        given = await _give_numbers(connection, new)
                except IntegrityError:
                    log.info("another process provisioned the same device", devices=len(names))
                    continue
                break
        self._remember((*known, *given))
        if given:
            _PROVISIONED.inc(len(given))
            log.info("provisioned", devices=len(given), first=given[0].name.device_id, tenant=given[0].name.tenant)
        return [*known, *given]


async def _give_numbers(connection: WriteConnection, names: Mapping[DeviceName, str]) -> list[Device]:
    if not names:
        return []
    await connection.execute(update(next_device).values(device_number=next_device.c.device_number + len(names)))
    first = (await connection.execute(select(next_device.c.device_number))).scalar_one() - len(names)
    now_us = time.time_ns() // 1000
    given = [Device(first + n, name, display_name, now_us) for n, (name, display_name) in enumerate(names.items())]
    await connection.execute(
        insert(devices),
        [
            {
                "device_number": device.number,
                "tenant": device.name.tenant,
                "device_id": device.name.device_id,
                "display_name": device.display_name,
                "provisioned_at_us": device.provisioned_at_us,
            }
            for device in given
        ],
    )
    return given


async def _select(connection: ReadConnection, names: Sequence[DeviceName]) -> list[Device]:
    ids_of: dict[str, list[str]] = {}
    for name in names:
        ids_of.setdefault(name.tenant, []).append(name.device_id)
    found: list[Device] = []
    for tenant, ids in ids_of.items():
        for start in range(0, len(ids), _CHUNK):
            query = select(devices).where(
                devices.c.tenant == tenant, devices.c.device_id.in_(ids[start : start + _CHUNK])
            )
            found.extend(_device(row) for row in await connection.execute(query))
    return found


def _device(row: Row[Any]) -> Device:
    name = DeviceName(row.tenant, row.device_id)
    return Device(row.device_number, name, row.display_name, row.provisioned_at_us)
