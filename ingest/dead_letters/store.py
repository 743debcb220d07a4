"""What could not be taken: kept in SQL with reason, topic, bytes and time, to be looked at and replayed.

Letters of many messages are one transaction. `put` returns when they are on disk, so that a message is acknowledged
only when its readings are in the log or its letter is here. While the database is away, `put` waits, and with it the
source: nothing is acknowledged and then lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from ingest.reasons import Reason
from ingest.tables import MAX_LETTER_PAYLOAD_BYTES, dead_letters
from runtime.database import read, write
from runtime.metrics import Counter, Gauge
from runtime.problems import NotFound, Unavailable

log = structlog.get_logger()

_STORED: Final = Counter("drover_ingest_dead_letters_stored", "Dead letters written.", ["reason"])
_DROPPED: Final = Counter("drover_ingest_dead_letters_dropped", "Dead letters deleted for age or number.", ["cause"])
_WAITING: Final = Gauge("drover_ingest_dead_letters_waiting", "Dead letters not on disk yet.")

_MAX_WAITING: Final = 10_000
_MAX_ROWS: Final = 500
_MAX_TOPIC_CHARACTERS: Final = 15_000  # of up to 4 bytes: what MariaDB's TEXT holds
_MAX_DETAIL_CHARACTERS: Final = 500
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
_DAY_S: Final = 86_400.0


class DeadLetter(NamedTuple):
    """One message that was not taken."""

    tenant: str
    """Empty where nobody knows."""
    source: str
    topic: str
    reason: Reason
    detail: str
    payload: bytes
    """At most 64 KiB are kept."""
    payload_bytes: int
    """Its whole length."""
    received_at_us: int


class StoredLetter(NamedTuple):
    """One row. `payload` is cut at 64 KiB; `payload_bytes` is the whole length."""

    dead_letter_id: int
    tenant: str
    source: str
    topic: str
    reason: str
    detail: str
    payload: bytes
    payload_bytes: int
    received_at_us: int
    replayed_at_us: int | None


class UnknownDeadLetterError(NotFound):
    """No such letter for this tenant."""

    code = "unknown_dead_letter"


class StoreUnavailableError(Unavailable):
    """Stopped before the letters were on disk: their messages must not be acknowledged."""

    code = "dead_letters_unavailable"


class _Waiting(NamedTuple):
    letters: Sequence[DeadLetter]
    stored: asyncio.Future[None]


class DeadLetters:
    """The store. `run` must be running for `put` to return."""

    def __init__(self, engine: AsyncEngine, *, retention_days: float = 30.0, max_letters: int = 1_000_000) -> None:
        self._engine: Final = engine
        self._retention_s: Final = retention_days * _DAY_S
        self._max_letters: Final = max_letters
        self._queue: Final[list[_Waiting]] = []
        self._count = 0
        self._arrived: Final = asyncio.Event()
        self._room: Final = asyncio.Condition()
        self._closing = asyncio.Event()
        self.wrong: str | None = None
        """What keeps letters from being written now, in one line."""

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        """Returns when all are on disk. Waits while 10,000 are waiting. Raises StoreUnavailableError when closed."""
        if not letters:
            return
        async with self._room:
            await self._room.wait_for(lambda: self._count < _MAX_WAITING or self._closing.is_set())
        if self._closing.is_set():
            raise StoreUnavailableError("ingest is stopping")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(letters, stored))
        self._set_count(self._count + len(letters))
        self._arrived.set()
        await stored

    def close(self) -> None:
        """Lets `run` end once what is waiting is on disk, or at once when the database is away."""
        self._closing.set()
        self._arrived.set()

    async def run(self) -> None:
        """Writes until closed."""
        while True:
            await self._arrived.wait()
            if not self._queue:
                if self._closing.is_set():
                    return
                self._arrived.clear()
                continue
            batch, self._queue[:] = list(self._queue), []
            letters = [letter for waiting in batch for letter in waiting.letters]
            written = await self._write_patiently(letters)
            for waiting in batch:
                if waiting.stored.cancelled():
                    continue
                if written:
                    waiting.stored.set_result(None)
                else:
                    waiting.stored.set_exception(StoreUnavailableError("the database of dead letters does not answer"))
            async with self._room:
                self._set_count(self._count - len(letters))
                self._room.notify_all()

    async def run_retention(self, every_s: float = 60.0) -> None:
        """Deletes what is too old or too much, for ever."""
        while True:
            try:
                await self.prune(time.time_ns() // 1000)
            except (Unavailable, OperationalError, InterfaceError, OSError) as error:
                log.warning("dead letters are not pruned", error=str(error))
            await asyncio.sleep(every_s)

    async def prune(self, now_us: int) -> int:
        """Deletes letters older than the retention, and the oldest beyond the greatest number; returns how many."""
        beyond = select(dead_letters.c.dead_letter_id).order_by(dead_letters.c.dead_letter_id.desc())
        async with read(self._engine) as connection:
            first_beyond = (await connection.execute(beyond.offset(self._max_letters).limit(1))).scalar()
        old = dead_letters.c.received_at_us < now_us - round(self._retention_s * 1e6)
        dropped = await self._delete(old, "age")
        if first_beyond is not None:
            dropped += await self._delete(dead_letters.c.dead_letter_id <= first_beyond, "number")
        return dropped

    async def get(self, tenants: Sequence[str], dead_letter_id: int) -> StoredLetter:
        """One letter of one of these tenants. Raises UnknownDeadLetterError."""
        query = select(dead_letters).where(
            dead_letters.c.dead_letter_id == dead_letter_id, dead_letters.c.tenant.in_(tenants)
        )
        async with read(self._engine) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise UnknownDeadLetterError(f"there is no dead letter {dead_letter_id}")
        return _stored(row)

    async def page(self, tenants: Sequence[str], *, before_id: int, size: int, reason: str = "") -> list[StoredLetter]:
        """Up to `size` letters of these tenants, the newest first, with an id below `before_id`."""
        query = select(dead_letters).where(
            dead_letters.c.tenant.in_(tenants), dead_letters.c.dead_letter_id < before_id
        )
        if reason:
            query = query.where(dead_letters.c.reason == reason)
        query = query.order_by(dead_letters.c.dead_letter_id.desc()).limit(size)
        async with read(self._engine) as connection:
            return [_stored(row) for row in await connection.execute(query)]

    async def mark_replayed(self, dead_letter_id: int, at_us: int) -> None:
        """Writes down that its readings are in the log now."""
        async with write(self._engine) as connection:
            await connection.execute(
                update(dead_letters).where(dead_letters.c.dead_letter_id == dead_letter_id).values(replayed_at_us=at_us)
            )

    async def count(self) -> int:
        """How many letters there are."""
        async with read(self._engine) as connection:
            return (await connection.execute(select(func.count()).select_from(dead_letters))).scalar_one()

    def _set_count(self, count: int) -> None:
        self._count = count
        _WAITING.set(count)

    async def _write_patiently(self, letters: Sequence[DeadLetter]) -> bool:
        """Tries until it succeeds; False when the database is away while closing."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                async with write(self._engine) as connection:
                    for start in range(0, len(letters), _MAX_ROWS):
                        rows = [_row(letter) for letter in letters[start : start + _MAX_ROWS]]
                        await connection.execute(insert(dead_letters), rows)
            except (Unavailable, OperationalError, InterfaceError, OSError) as error:
                self.wrong = f"dead letters cannot be written: {error}"
                log.warning("dead letters cannot be written, trying again", error=str(error), pause_s=pause_s)
                if self._closing.is_set():
                    return False
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            self.wrong = None
            for letter in letters:
                _STORED.labels(letter.reason.slug).inc()
            return True

    async def _delete(self, condition: Any, cause: str) -> int:
        dropped = 0
        query = select(dead_letters.c.dead_letter_id).where(condition).limit(_MAX_ROWS)
        while True:  # in small transactions, so that writers are not kept waiting
            async with write(self._engine) as connection:
                ids = list((await connection.execute(query)).scalars())
                if ids:
                    await connection.execute(delete(dead_letters).where(dead_letters.c.dead_letter_id.in_(ids)))
            dropped += len(ids)
            _DROPPED.labels(cause).inc(len(ids))
            if len(ids) < _MAX_ROWS:
                return dropped


def _row(letter: DeadLetter) -> dict[str, Any]:
    return {
        "tenant": letter.tenant,
        "source": letter.source,
        "topic": letter.topic[:_MAX_TOPIC_CHARACTERS],
        "reason": letter.reason.slug,
        "detail": letter.detail[:_MAX_DETAIL_CHARACTERS],
        "payload": letter.payload[:MAX_LETTER_PAYLOAD_BYTES],
        "payload_bytes": letter.payload_bytes,
        "received_at_us": letter.received_at_us,
        "replayed_at_us": None,
    }


def _stored(row: Row[Any]) -> StoredLetter:
    return StoredLetter._make(row)
