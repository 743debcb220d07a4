"""What must hold after every schedule."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import create_engine, read
from runtime.partitioned_log import RedisStreamLog, offset_key
from runtime.problems import Unavailable
from tests.chaos.faults import BrokerDeath
from tests.chaos.readings import Content, Key, content
from tests.chaos.stage import PARTITIONS, Stage

SAVE_S: Final = 0.5
"""How long before the time of its file a save of the broker may have begun."""


class Acknowledged(NamedTuple):
    """A reading, and when its sender was told that it is safe; None for the durable log itself."""

    key: Key
    by_broker_at_s: float | None


class Verdict(NamedTuple):
    """What is wrong; all empty when nothing is."""

    lost: tuple[Key, ...]
    doubled: tuple[Key, ...]
    never_sent: tuple[Key, ...]
    altered: tuple[Key, ...]
    dead_letters: int
    forgiven: int
    """Readings that the broker acknowledged and lost within what its configuration promises."""

    @property
    def is_sound(self) -> bool:
        """Whether the promises were kept."""
        return not (self.lost or self.doubled or self.never_sent or self.altered or self.dead_letters)

    def __str__(self) -> str:
        if self.is_sound:
            return "sound" + (f", {self.forgiven} readings lost by the broker" if self.forgiven else "")
        found = {name: value for name, value in self._asdict().items() if value}
        return ", ".join(
            f"{name} {value if isinstance(value, int) else f'{len(value)}: {sorted(value)[:10]}'}"
            for name, value in found.items()
        )


def judge(
    rows: Iterable[tuple[Key, Content]],
    sent: Collection[Key],
    acknowledged: Iterable[Acknowledged],
    deaths: Sequence[BrokerDeath],
    dead_letters: int,
) -> Verdict:
    """Compares what history has with what was sent and what was acknowledged."""
    stored = list(rows)
    counts = collections.Counter(key for key, _ in stored)
    missing = [each for each in acknowledged if each.key not in counts]
    lost = [each.key for each in missing if not _is_forgiven(each, deaths)]
    return Verdict(
        lost=tuple(lost),
        doubled=tuple(key for key, count in counts.items() if count > 1),
        never_sent=tuple(key for key in counts if key not in sent),
        altered=tuple(key for key, found in stored if key in sent and found != content(key)),
        dead_letters=dead_letters,
        forgiven=len(missing) - len(lost),
    )


def _is_forgiven(acknowledged: Acknowledged, deaths: Sequence[BrokerDeath]) -> bool:
    """Whether only the broker's memory had it: acknowledged after the last save before a death."""
    at_s = acknowledged.by_broker_at_s
    return at_s is not None and any(death.saved_at_s - SAVE_S <= at_s <= death.back_at_s for death in deaths)


async def history_is_complete(stage: Stage) -> None:
    """Returns when history has passed what the log has now."""
    log = RedisStreamLog(client := stage.connect_redis(), PARTITIONS)
    engine = create_engine(stage.database_url("tracking"))
    try:
        ends = {number: await log.end(number) for number in range(PARTITIONS)}
        while not await _passed(engine, ends):
            stage.check_running()
            await asyncio.sleep(0.02)
    finally:
        await client.aclose()
        await engine.dispose()


async def _passed(engine: AsyncEngine, ends: Mapping[int, str]) -> bool:
    try:
        async with read(engine) as connection:
            rows = await connection.execute(text("SELECT partition_number, log_offset FROM history_offsets"))
            found = {row.partition_number: row.log_offset for row in rows}
    except Unavailable:
        return False
    return all(offset_key(found[number]) >= offset_key(end) for number, end in ends.items())


async def rows_of(stage: Stage, tenant: str) -> list[tuple[Key, Content]]:
    """All positions of a tenant in history."""
    engine = create_engine(stage.database_url("tracking"))
    query = text(
        "SELECT device_id, sequence, observed_at_us, latitude_deg, longitude_deg FROM positions JOIN devices "
        "ON positions.device_number = devices.device_number WHERE tenant = :tenant"
    )
    try:
        async with read(engine) as connection:
            found = await connection.execute(query, {"tenant": tenant})
            return [(Key(row[0], row[1]), Content(*row[2:])) for row in found]
    finally:
        await engine.dispose()


async def dead_letters_of(stage: Stage, tenant: str) -> int:
    """How many there are: no device has sent anything that could become one."""
    engine = create_engine(stage.database_url("ingest"))
    query = text("SELECT COUNT(*) FROM dead_letters WHERE tenant IN ('', :tenant)")
    try:
        async with read(engine) as connection:
            return int((await connection.execute(query, {"tenant": tenant})).scalar_one())
    finally:
        await engine.dispose()
