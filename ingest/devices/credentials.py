"""What devices sign in with: made, replaced, taken away, and whether a caller's still holds.

Several processes share the tables. Each holds in memory who has which credential, asks every `poll_s` for what
changed, and so heeds a change of another process that late at most; its own at once. While the database is away, what
was known last holds.
"""

from __future__ import annotations

import asyncio
import pathlib
import secrets
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from ingest.devices import mosquitto_files
from ingest.devices.device_name import DeviceName, of_user_name, user_name
from ingest.devices.mosquitto_files import Entry, Extra, Form, Login
from ingest.devices.registry import Device
from ingest.tables import credential_changes, device_credentials, devices
from runtime.database import ReadConnection, read, write
from runtime.metrics import Counter
from runtime.problems import Conflict, Invalid, Unauthenticated, Unavailable
from runtime.tokens import Caller, InvalidToken, Issuer, Role

log = structlog.get_logger()

_CHANGED: Final = Counter("drover_ingest_credentials_changed", "Credentials made or revoked by this process.")
_REFUSED: Final = Counter("drover_ingest_credentials_refused", "Sound tokens and certificates that hold no longer.")

_SECRET_BYTES: Final = 32
_PAGE: Final = 5_000
_YEAR_S: Final = 365 * 86_400
_LONGEST_S: Final = 10 * _YEAR_S


class CredentialsExistError(Conflict):
    """The device has credentials; they can be rotated."""

    code = "credentials_exist"


class CredentialRevokedError(Unauthenticated):
    """The caller's credential was revoked, or replaced by another."""

    code = "credential_revoked"


class Issued(NamedTuple):
    """A new credential, with the secrets that are told this once."""

    name: DeviceName
    number: int
    password: str
    token: str
    token_expires_at_us: int


class Credential(NamedTuple):
    """Of one device, what it has now."""

    number: int
    is_revoked: bool


class MosquittoFolder(NamedTuple):
    """Where the broker's files are kept, and who else signs in there."""

    folder: pathlib.Path
    logins: Sequence[Login]
    form: Form
    extra: Extra = Extra()


class Credentials:
    """The register of credentials. `refresh` once before anything is checked; then `run` must be running."""

    def __init__(
        self, engine: AsyncEngine, issuer: Issuer, *, mosquitto: MosquittoFolder | None = None, poll_s: float = 2.0
    ) -> None:
        self._engine: Final = engine
        self._issuer: Final = issuer
        self._mosquitto: Final = mosquitto
        self._poll_s: Final = poll_s
        self._known: Final[dict[DeviceName, Credential]] = {}
        self._last_change = -1
        self._is_written = mosquitto is None
        self._extra_written: object = None
        self._refreshing: Final = asyncio.Lock()
        self.wrong: str | None = None
        """What keeps changes from being seen or written now, in one line."""

    def of(self, name: DeviceName) -> Credential | None:
        """What a device has, as far as this process knows."""
        return self._known.get(name)

    async def create(self, device: Device, lifetime_s: int = 0) -> Issued:
        """The first credential. Raises CredentialsExistError."""
        return await self._give(device, lifetime_s, is_first=True)

    async def rotate(self, device: Device, lifetime_s: int = 0) -> Issued:
        """A new credential; the one before ends. `lifetime_s` is that of the token, 0 a year."""
        return await self._give(device, lifetime_s, is_first=False)

    async def revoke(self, device: Device) -> None:
        """Ends what the device has, and keeps it from signing in with a certificate too. Doing it again is harmless."""
        await self._put(device, None, is_first=False)
        log.info("revoked", tenant=device.name.tenant, device=device.name.device_id)

    def check(self, caller: Caller) -> None:
        """Raises InvalidToken when a caller's time is over, CredentialRevokedError when a device's credential is."""
        if time.time() >= caller.expires_at_s:
            raise InvalidToken("the token has expired", code="token_expired")
        if caller.role is not Role.DEVICE:
            return
        held = self._known.get(DeviceName(caller.tenant, caller.subject))
        number, is_revoked = held if held is not None else (0, False)
        # A token without a number is good for a device that has no credentials: an operator's, for a trial.
        if is_revoked or (caller.credential is not None and caller.credential != number):
            _REFUSED.inc()
            raise CredentialRevokedError("the device's credential was revoked or replaced")

    @staticmethod
    def of_certificate(common_name: str) -> Caller:
        """The device that a certificate names. Raises InvalidToken."""
        name = of_user_name(common_name)
        if name is None:
            raise InvalidToken("the certificate's common name is not tenant/device", code="certificate_names_no_device")
        return Caller(name.device_id, name.tenant, Role.DEVICE, float("inf"), None)

    async def refresh(self) -> None:
        """Takes in what changed, and writes the broker's files when something did. Raises Unavailable."""
        async with self._refreshing, read(self._engine) as connection:
            query = (
                select(device_credentials, devices.c.tenant, devices.c.device_id)
                .join(devices, devices.c.device_number == device_credentials.c.device_number)
                .where(device_credentials.c.change_number > self._last_change)
                .order_by(device_credentials.c.change_number)
            )
            for row in await connection.execute(query):
                name = DeviceName(row.tenant, row.device_id)
                self._known[name] = Credential(row.credential_number, row.secret_hash is None)
                self._last_change = row.change_number
                self._is_written = self._mosquitto is None
            if self._mosquitto is not None and self._mosquitto.extra.changed() != self._extra_written:
                self._is_written = False
            if not self._is_written:
                await self._write(connection)

    async def run(self) -> None:
        """Refreshes until cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self.refresh()
            except Unavailable as error:
                self.wrong = f"changes of credentials are not seen: {error}"
                log.warning("changes of credentials are not seen, trying again", error=str(error))
            else:
                if self._is_written:
                    self.wrong = None

    async def _give(self, device: Device, lifetime_s: int, *, is_first: bool) -> Issued:
        lifetime_s = lifetime_s or _YEAR_S
        if lifetime_s > _LONGEST_S:
            raise Invalid("a device's token holds ten years at most", code="token_lifetime_too_long")
        password = secrets.token_urlsafe(_SECRET_BYTES)
        number = await self._put(device, mosquitto_files.hashed(password), is_first=is_first)
        name = device.name
        token = self._issuer.issue(name.device_id, name.tenant, Role.DEVICE, lifetime_s, credential=number)
        log.info("gave credentials", tenant=name.tenant, device=name.device_id, user=user_name(name), number=number)
        return Issued(name, number, password, token, (int(time.time()) + lifetime_s) * 1_000_000)

    async def _put(self, device: Device, secret_hash: str | None, *, is_first: bool) -> int:
        key = device_credentials.c.device_number == device.number
        async with write(self._engine) as connection:
            # First, so that its lock puts changes one behind the other: their numbers are in the order of commits.
            await connection.execute(
                update(credential_changes).values(change_number=credential_changes.c.change_number + 1)
            )
            change = (await connection.execute(select(credential_changes.c.change_number))).scalar_one()
            before = (
                await connection.execute(select(device_credentials.c.credential_number).where(key))
            ).scalar_one_or_none()
            if is_first and before is not None:
                raise CredentialsExistError(f"{device.name.device_id} has had credentials; rotate them")
            number = (before or 0) + 1
            values = {
                "credential_number": number,
                "secret_hash": secret_hash,
                "changed_at_us": time.time_ns() // 1000,
                "change_number": change,
            }
            if before is None:
                await connection.execute(insert(device_credentials).values(device_number=device.number, **values))
            else:
                await connection.execute(update(device_credentials).where(key).values(**values))
        _CHANGED.inc()
        await self.refresh()
        return number

    async def _write(self, connection: ReadConnection) -> None:
        assert self._mosquitto is not None
        entries: list[Entry] = []
        last = -1
        while True:
            query = (
                select(device_credentials, devices.c.tenant, devices.c.device_id)
                .join(devices, devices.c.device_number == device_credentials.c.device_number)
                .where(device_credentials.c.device_number > last, device_credentials.c.secret_hash.is_not(None))
                .order_by(device_credentials.c.device_number)
                .limit(_PAGE)
            )
            rows = (await connection.execute(query)).all()
            entries += [Entry(DeviceName(row.tenant, row.device_id), row.secret_hash) for row in rows]
            if len(rows) < _PAGE:
                break
            last = rows[-1].device_number
        folder, logins, form, extra = self._mosquitto
        changed = extra.changed()
        try:
            await asyncio.to_thread(mosquitto_files.write, folder, logins, entries, form, extra)
        except OSError as error:
            self.wrong = f"cannot write the broker's files in {folder}: {error.strerror}"
            log.error("cannot write the broker's files", folder=str(folder), reason=error.strerror)  # noqa: TRY400
            return
        self._is_written, self._extra_written = True, changed
        self.wrong = None
        log.info("wrote the broker's files", folder=str(folder), devices=len(entries))
