"""Who signs in at the embedded Mosquitto of `drover up --secure`: its files, ingest's own login, and the reload."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import secrets
import signal
import urllib.parse
from collections.abc import Callable
from typing import Final, Self

from ingest.devices import mosquitto_files
from ingest.devices.mosquitto_files import ACL, Login

INGEST: Final = "drover-ingest"
_LOOK_EVERY_S: Final = 0.5


class BrokerFiles:
    """The files in `folder`. Ingest keeps them up to date; the first ones name only ingest itself."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder: Final = folder
        folder.mkdir(parents=True, exist_ok=True)
        own = folder / "ingest.secret"
        if not own.exists():
            draft = own.with_suffix(".new")
            draft.touch(mode=0o600)
            draft.write_text(secrets.token_urlsafe(32))
            draft.replace(own)
        self._password: Final = own.read_text()
        if not (folder / ACL).exists():
            mosquitto_files.write(folder, [Login(INGEST, self._password)], [])

    @classmethod
    def in_data(cls, data_dir: pathlib.Path) -> Self:
        """Those of the stack of a data folder."""
        return cls(data_dir / "mqtt" / "files")

    def ingest_url(self, host: str, port: int) -> str:
        """The broker as ingest signs in to it."""
        return f"mqtt://{INGEST}:{urllib.parse.quote(self._password, safe='')}@{host}:{port}"

    async def follow(self, broker: Callable[[], int | None]) -> None:
        """Tells the broker, whose process id `broker` gives, whenever the files changed. Until cancelled."""
        # One look more than needed at first: who knows what the broker has read.
        told: object = None
        while True:
            changed = self._changed()
            pid = broker()
            if pid is not None and (pid, changed) != told:
                told = (pid, changed)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGHUP)
            await asyncio.sleep(_LOOK_EVERY_S)

    def _changed(self) -> tuple[int, int] | None:
        try:
            found = (self.folder / ACL).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
