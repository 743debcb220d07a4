from __future__ import annotations

from tests.servers.databases import database_url

__all__ = ["database_url"]
