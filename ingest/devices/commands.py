"""Commands to devices, kept in SQL from the moment they are accepted until long after their end.

queued ► sent ► acknowledged or failed, by the device's answer; or expired, when none came in time. An answer counts
whenever it comes. Several processes may share the table: who sends a command first takes it, for a while; if that
process dies, another one sends it again. So a command may reach its device twice, and never not at all for our sake.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, and_, case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from ingest.devices.registry import Device
from ingest.tables import MAX_COMMAND_PAYLOAD_BYTES, device_commands, devices
from runtime.database import ReadConnection, read, write
from runtime.metrics import Counter
from runtime.problems import Conflict, Exhausted, Invalid, NotFound

_ACCEPTED: Final = Counter("drover_ingest_commands_accepted", "Commands to devices that were accepted.")
_ENDED: Final = Counter("drover_ingest_commands_ended", "Commands that came to an end, by which.", ["state"])

MAX_PARAMETERS_BYTES: Final = 16 * 1024
MAX_EXPIRY_S: Final = 30 * 86_400
_DEFAULT_EXPIRY_S: Final = 3_600
_MAX_KEY_LENGTH: Final = 128
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_OPEN: Final = ("queued", "sent")
_ENDED_STATES: Final = ("acknowledged", "failed", "expired")
_LEASE_US: Final = 10_000_000
_FIRST_PAUSE_US: Final = 2_000_000
_MOST_DOUBLINGS: Final = 5
_PRUNE_AT_ONCE: Final = 10_000


class UnknownCommandError(NotFound):
    """The device was never sent such a command."""

    code = "unknown_command"


class TooManyCommandsError(Exhausted):
    """Too many commands to the device have not come to an end."""

    code = "too_many_open_commands"


class KeyReusedError(Conflict):
    """An idempotency key that stands for another command."""

    code = "idempotency_key_reused"


class Order(NamedTuple):
    """What is to be done."""

    name: str
    parameters_json: str
    payload: bytes
    expires_in_s: int


class Command(NamedTuple):
    """One row."""

    command_id: int
    device_number: int
    name: str
    parameters_json: str
    payload: bytes
    state: str
    detail: str
    created_at_us: int
    expires_at_us: int
    sent_at_us: int | None
    answered_at_us: int | None


class Due(NamedTuple):
    """A command to be sent now, and to whom."""

    command: Command
    tenant: str
    device_id: str
    tries: int


class Answer(NamedTuple):
    """What a device says of a command."""

    tenant: str
    device_id: str
    command_id: int
    is_done: bool
    detail: str


class Commands:
    """The table. At most `max_open` commands to a device are open; `retention_days` are kept after their end."""

    def __init__(self, engine: AsyncEngine, *, max_open: int = 32, retention_days: float = 30.0) -> None:
        self._engine: Final = engine
        self._max_open: Final = max_open
        self._retention_us: Final = int(retention_days * 86_400e6)
        self.arrived: Final = asyncio.Event()
        """Set when there is something new to send."""

    async def accept(self, device: Device, order: Order, key: str = "") -> tuple[Command, bool]:
        """Queues a command; or gives the one that `key` stands for already, and False.

        Raises Invalid, TooManyCommandsError and KeyReusedError.
        """
        _check(order, key)
        now_us = time.time_ns() // 1000
        values = {
            "device_number": device.number,
            "name": order.name,
            "parameters_json": order.parameters_json,
            "payload": order.payload,
            "state": "queued",
            "detail": "",
            "idempotency_key": key or None,
            "created_at_us": now_us,
            "expires_at_us": now_us + (order.expires_in_s or _DEFAULT_EXPIRY_S) * 1_000_000,
            "try_at_us": now_us,
            "tries": 0,
        }
        try:
            async with write(self._engine) as connection:
                # The device's row first: its lock puts those behind each other who count at once.
                mine = devices.c.device_number == device.number
                await connection.execute(update(devices).where(mine).values(device_number=device.number))
                known = await self._of_key(connection, device, order, key)
                if known is not None:
                    return known, False
                of_device = device_commands.c.device_number == device.number
                is_open = and_(of_device, device_commands.c.state.in_(_OPEN), device_commands.c.expires_at_us > now_us)
                count = (await connection.execute(select(func.count()).where(is_open))).scalar_one()
                if count >= self._max_open:
                    raise TooManyCommandsError(f"{count} commands to {device.name.device_id} are open; wait for them")
                inserted = await connection.execute(insert(device_commands).values(**values))
                assert inserted.inserted_primary_key is not None
                command = await self._one(connection, device, inserted.inserted_primary_key[0])
        except IntegrityError:
            async with read(self._engine) as reading:
                known = await self._of_key(reading, device, order, key)
            if known is None:
                raise
            return known, False
        _ACCEPTED.inc()
        self.arrived.set()
        return command, True

    async def get(self, device: Device, command_id: int) -> Command:
        """One command. Raises UnknownCommandError."""
        async with read(self._engine) as connection:
            return await self._one(connection, device, command_id)

    async def page(self, device: Device, before_id: int, size: int) -> list[Command]:
        """Up to `size` commands to a device with ids below `before_id`, the newest first."""
        query = (
            select(device_commands)
            .where(device_commands.c.device_number == device.number, device_commands.c.command_id < before_id)
            .order_by(device_commands.c.command_id.desc())
            .limit(size)
        )
        async with read(self._engine) as connection:
            return [_command(row) for row in await connection.execute(query)]

    async def take_due(self, now_us: int, at_most: int) -> list[Due]:
        """Commands to be sent now, the oldest of each device only; nobody else takes them for a while."""
        older = device_commands.alias("older")
        query = (
            select(device_commands, devices.c.tenant, devices.c.device_id)
            .join(devices, devices.c.device_number == device_commands.c.device_number)
            .where(
                device_commands.c.state == "queued",
                device_commands.c.try_at_us <= now_us,
                ~select(older.c.command_id)
                .where(
                    older.c.device_number == device_commands.c.device_number,
                    older.c.state == "queued",
                    older.c.command_id < device_commands.c.command_id,
                )
                .exists(),
            )
            .order_by(device_commands.c.try_at_us)
            .limit(at_most)
        )
        taken: list[Due] = []
        async with write(self._engine) as connection:
            for row in (await connection.execute(query)).all():
                mine = and_(device_commands.c.command_id == row.command_id, device_commands.c.tries == row.tries)
                values = {"try_at_us": now_us + _LEASE_US, "tries": row.tries + 1}
                if (await connection.execute(update(device_commands).where(mine).values(**values))).rowcount == 1:
                    taken.append(Due(_command(row), row.tenant, row.device_id, row.tries + 1))
        return taken

    async def sent(self, command_id: int, now_us: int) -> None:
        """A broker has it. An answer that was faster stays. Raises Unavailable."""
        state = case((device_commands.c.state == "queued", "sent"), else_=device_commands.c.state)
        await self._update(command_id, {"state": state, "sent_at_us": now_us})

    async def unheard(self, due: Due, now_us: int) -> None:
        """Nobody took it; it is tried again later, each time later. Raises Unavailable."""
        pause_us = _FIRST_PAUSE_US << min(due.tries - 1, _MOST_DOUBLINGS)
        await self._update(due.command.command_id, {"try_at_us": now_us + pause_us})

    async def answered(self, answers: Sequence[Answer], now_us: int) -> int:
        """Takes in what devices say; how many of the answers were to their own open or expired commands.

        Raises Unavailable, and then none counts.
        """
        counted = 0
        ended: list[str] = []
        async with write(self._engine) as connection:
            for answer in answers:
                number = (
                    select(devices.c.device_number)
                    .where(devices.c.tenant == answer.tenant, devices.c.device_id == answer.device_id)
                    .scalar_subquery()
                )
                mine = (
                    device_commands.c.command_id == answer.command_id,
                    device_commands.c.device_number == number,
                    device_commands.c.state.in_((*_OPEN, "expired")),
                )
                state = "acknowledged" if answer.is_done else "failed"
                values = {"state": state, "detail": answer.detail[:500], "answered_at_us": now_us}
                result = await connection.execute(update(device_commands).where(*mine).values(**values))
                counted += result.rowcount
                ended += [state] * result.rowcount
        for state in ended:
            _ENDED.labels(state).inc()
        return counted

    async def expire(self, now_us: int) -> None:
        """Ends what has waited too long, and forgets what ended long ago. Raises Unavailable."""
        overdue = and_(device_commands.c.state.in_(_OPEN), device_commands.c.expires_at_us <= now_us)
        cutoff_us = now_us - self._retention_us
        old = and_(device_commands.c.state.in_(_ENDED_STATES), device_commands.c.expires_at_us <= cutoff_us)
        async with read(self._engine) as connection:
            found = (await connection.execute(select(device_commands.c.command_id).where(overdue).limit(1))).first()
            forgotten = select(device_commands.c.command_id).where(old).limit(_PRUNE_AT_ONCE)
            ids = (await connection.execute(forgotten)).scalars().all()
        if found is None and not ids:
            return
        async with write(self._engine) as writing:
            ended = await writing.execute(update(device_commands).where(overdue).values(state="expired"))
            await writing.execute(delete(device_commands).where(device_commands.c.command_id.in_(ids)))
        _ENDED.labels("expired").inc(ended.rowcount)

    async def _update(self, command_id: int, values: dict[str, Any]) -> None:
        async with write(self._engine) as connection:
            await connection.execute(
                update(device_commands).where(device_commands.c.command_id == command_id).values(**values)
            )

    async def _one(self, connection: ReadConnection, device: Device, command_id: int) -> Command:
        query = select(device_commands).where(
            device_commands.c.device_number == device.number, device_commands.c.command_id == command_id
        )
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise UnknownCommandError(f"there is no command {command_id} to {device.name.device_id}")
        return _command(row)

    async def _of_key(self, connection: ReadConnection, device: Device, order: Order, key: str) -> Command | None:
        if not key:
            return None
        query = select(device_commands).where(
            device_commands.c.device_number == device.number, device_commands.c.idempotency_key == key
        )
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        known = _command(row)
        if (known.name, known.parameters_json, known.payload) != order[:3]:
            raise KeyReusedError("the Idempotency-Key stands for another command")
        return known


def _check(order: Order, key: str) -> None:
    if _NAME.fullmatch(order.name) is None:
        raise Invalid("a command's name has 1 to 64 letters, digits, or _ - . :", code="bad_command_name")
    if len(order.parameters_json.encode()) > MAX_PARAMETERS_BYTES or len(order.payload) > MAX_COMMAND_PAYLOAD_BYTES:
        raise Invalid("parameters have at most 16 KiB, a payload at most 64 KiB", code="command_too_large")
    if order.expires_in_s > MAX_EXPIRY_S:
        raise Invalid("a command waits 30 days at most", code="bad_expiry")
    if len(key) > _MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise Invalid("an Idempotency-Key has at most 128 printable ASCII characters", code="bad_idempotency_key")


def _command(row: Row[Any]) -> Command:
    return Command(*(getattr(row, name) for name in Command._fields))
