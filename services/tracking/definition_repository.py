"""The only SQL about definitions. Every method is one transaction."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Row, and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from runtime.database import ReadConnection, WriteConnection, insert_ignore, read, write
from services.tracking.model import NEVER_PUT, Definition, DefinitionKind, FenceVersion
from services.tracking.tables import definitions, fence_versions

VERSIONS_KEPT: Final = 50
"""Of each fence, the newest: a program that edits a fence every minute must not fill the disk."""


class DefinitionRepository:
    """Fences, limits and routes. A deleted one stays as a row, so that its versions go on."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def get(self, kind: DefinitionKind, tenant: str, definition_id: str) -> Definition | None:
        """The present version; None if there is none."""
        async with read(self._engine) as connection:
            found = await _definition(connection, kind, tenant, definition_id)
        return None if found is None or found.deleted else found

    async def list(self, kind: DefinitionKind, tenant: str, *, after: str, limit: int) -> builtins.list[Definition]:
        """Those that are not deleted, by id, after the one named."""
        table = definitions.c
        query = (
            select(definitions)
            .where(table.kind == kind.value, table.tenant == tenant, table.id > after, table.deleted.is_(False))
            .order_by(table.id)
            .limit(limit)
        )
        async with read(self._engine) as connection:
            return [_definition_of(row) for row in await connection.execute(query)]

    async def every(self) -> builtins.list[Definition]:
        """All that hold now, for an engine that has lost its log."""
        async with read(self._engine) as connection:
            rows = await connection.execute(select(definitions).where(definitions.c.deleted.is_(False)))
            return [_definition_of(row) for row in rows]

    async def edit(
        self,
        kind: DefinitionKind,
        tenant: str,
        definition_id: str,
        change: Callable[[Definition], Definition | None],
        now_us: int,
    ) -> Definition:
        """Replaces the present version (`NEVER_PUT` and deleted if there is none) by what `change` makes of it.

        `change` may return None to keep it, or raise to leave everything as it was. What is stored is not published.
        """
        async with write(self._engine) as connection:
            # A row to lock: two who create the same id at once come here one after the other.
            first = {
                "kind": kind.value,
                "tenant": tenant,
                "id": definition_id,
                "version": NEVER_PUT,
                "deleted": True,
                "published": True,
                "device_id": "",
                "body": b"",
                "updated_at_us": now_us,
            }
            await connection.execute(insert_ignore(definitions, connection.dialect.name), [first])
            present = await _definition(connection, kind, tenant, definition_id, lock=True)
            assert present is not None
            wanted = change(present)
            if wanted is None:
                return present
            await connection.execute(
                update(definitions)
                .where(_is(kind, tenant, definition_id))
                .values(
                    version=wanted.version,
                    deleted=wanted.deleted,
                    published=False,
                    device_id=wanted.device_id,
                    body=wanted.body,
                    updated_at_us=now_us,
                )
            )
            if kind is DefinitionKind.FENCE:
                await _keep_version(connection, wanted, now_us)
            return wanted

    async def unpublished(self) -> builtins.list[Definition]:
        """Versions that are not in the log yet, or not known to be; oldest edits first."""
        query = select(definitions).where(definitions.c.published.is_(False)).order_by(definitions.c.updated_at_us)
        async with read(self._engine) as connection:
            return [_definition_of(row) for row in await connection.execute(query)]

    async def mark_published(self, published: Sequence[Definition]) -> None:
        """They are in every partition's log. A version that was edited meanwhile stays unpublished."""
        async with write(self._engine) as connection:
            for each in published:
                same = and_(_is(each.kind, each.tenant, each.definition_id), definitions.c.version == each.version)
                await connection.execute(update(definitions).where(same).values(published=True))


async def versions_of(connection: ReadConnection, tenant: str, fence_id: str) -> builtins.list[FenceVersion]:
    """The versions of a fence that are kept, oldest first, deletions among them; empty for a fence that never was."""
    table = fence_versions.c
    query = (
        select(table.version, table.made_at_us, table.deleted, table.body)
        .where(table.tenant == tenant, table.id == fence_id)
        .order_by(table.version)
    )
    return [
        FenceVersion(row.version, row.made_at_us, bool(row.deleted), bytes(row.body))
        for row in await connection.execute(query)
    ]


async def routes_of(connection: ReadConnection, tenant: str, device_id: str) -> builtins.list[tuple[int, Definition]]:
    """The routes that a device has, each with the time at which its present version was stored."""
    table = definitions.c
    query = (
        select(definitions)
        .where(
            table.kind == DefinitionKind.ROUTE.value,
            table.tenant == tenant,
            table.device_id == device_id,
            table.deleted.is_(False),
        )
        .order_by(table.id)
    )
    return [(row.updated_at_us, _definition_of(row)) for row in await connection.execute(query)]


async def _keep_version(connection: WriteConnection, made: Definition, now_us: int) -> None:
    await connection.execute(
        insert(fence_versions).values(
            tenant=made.tenant,
            id=made.definition_id,
            version=made.version,
            deleted=made.deleted,
            body=made.body,
            made_at_us=now_us,
        )
    )
    table = fence_versions.c
    await connection.execute(
        delete(fence_versions).where(
            table.tenant == made.tenant, table.id == made.definition_id, table.version <= made.version - VERSIONS_KEPT
        )
    )


def _is(kind: DefinitionKind, tenant: str, definition_id: str) -> Any:
    table = definitions.c
    return and_(table.kind == kind.value, table.tenant == tenant, table.id == definition_id)


async def _definition(
    connection: ReadConnection, kind: DefinitionKind, tenant: str, definition_id: str, *, lock: bool = False
) -> Definition | None:
    query = select(definitions).where(_is(kind, tenant, definition_id))
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else _definition_of(row)


def _definition_of(row: Row[Any]) -> Definition:
    return Definition(
        DefinitionKind(row.kind), row.tenant, row.id, row.version, bool(row.deleted), row.device_id, bytes(row.body)
    )
