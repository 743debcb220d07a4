"""Who may do what at a Mosquitto, as its files: passwords and an access control list, replaced in one step each.

A device may write its own readings and nothing else, and read its own commands and receipts; only ingest reads all.
The broker learns of it by SIGHUP, and then also closes the connections of who may no longer sign in.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import pathlib
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from ingest.devices.device_name import DeviceName, user_name

PASSWORDS: Final = "mosquitto.passwords"
ACL: Final = "mosquitto.acl"
"""Written last: who watches this one misses nothing."""

Form = Literal["devices", "pattern"]

_WRITES: Final = (
    "position", "sensor", "tag", "batch", "json",
    "position/json", "sensor/json", "tag/json", "batch/json",
    "cmd/ack", "cmd/ack/json",
)  # fmt: skip
_READS: Final = ("cmd", "cmd/json", "ack", "ack/json")
_INGEST: Final = (
    "topic read #",
    "topic readwrite drover/doctor/#",
    *(f"topic write drover/v1/+/+/{leaf}" for leaf in _READS),
    "topic write spBv1.0/+/NCMD/+",
    "topic write spBv1.0/+/DCMD/+/+",
)
# Mosquitto's own number. More would only make it slow, in its one thread, when a fleet comes back: what is hashed here
# is 256 random bits, which nobody guesses at any speed.
_ITERATIONS: Final = 101
_SALT_BYTES: Final = 12  # 2.0 takes no other
_KEY_BYTES: Final = 64


class Login(NamedTuple):
    """A user of the broker that is no device: ingest."""

    username: str
    password: str | None
    """None where it signs in with a certificate."""


class Entry(NamedTuple):
    """A device that may sign in."""

    name: DeviceName
    secret_hash: str


def hashed(secret: str) -> str:
    """As `mosquitto_passwd` writes it: PBKDF2 with SHA-512 (RFC 8018, 5.2) as `$7$iterations$salt$key`."""
    salt = secrets.token_bytes(_SALT_BYTES)
    key = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, _ITERATIONS, _KEY_BYTES)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


class Extra(NamedTuple):
    """Files of a person's own, for users that are no devices of Drover's topics: gateways, foreign formats."""

    passwords: pathlib.Path | None = None
    acl: pathlib.Path | None = None

    def changed(self) -> tuple[tuple[int, int] | None, ...]:
        """Another value whenever one of them is another."""
        return tuple(_inode_and_time(path) for path in self)


def _inode_and_time(path: pathlib.Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def passwords(logins: Iterable[Login], devices: Iterable[Entry]) -> Iterator[str]:
    """The lines of the password file."""
    for username, password in logins:
        if password is not None:
            yield f"{username}:{hashed(password)}"
    for device in devices:
        yield f"{user_name(device.name)}:{device.secret_hash}"


def access(logins: Iterable[Login], devices: Iterable[Entry], form: Form) -> Iterator[str]:
    """The lines of the access control list.

    `devices` names each device's topics, which every Mosquitto understands, and a certificate of a device that is not
    among them opens nothing. `pattern` is one list for all, for fleets of tens of thousands on Mosquitto 2.0, which
    searches the other form line by line; Mosquitto 2.1 refuses patterns for names with a `/`, as ours are.
    """
    yield "# Written by Drover ingest; changes here are lost."
    for login in logins:
        yield f"user {login.username}"
        yield from _INGEST
    for device in devices:
        if form == "pattern" and ":" not in "".join(device.name):  # as a user name it would be another topic
            continue
        yield f"user {user_name(device.name)}"
        own = "drover/v1/" + "/".join(device.name)
        yield from (f"topic write {own}/{leaf}" for leaf in _WRITES)
        yield from (f"topic read {own}/{leaf}" for leaf in _READS)
    if form == "pattern":
        yield from (f"pattern write drover/v1/%u/{leaf}" for leaf in _WRITES)
        yield from (f"pattern read drover/v1/%u/{leaf}" for leaf in _READS)


def write(
    folder: pathlib.Path,
    logins: Iterable[Login],
    devices: Iterable[Entry],
    form: Form = "devices",
    extra: Extra = Extra(),  # noqa: B008 - frozen
) -> None:
    """Replaces both files, readable by the folder's group, the lines of `extra` first in each. Raises OSError."""
    logins, devices = list(logins), list(devices)
    folder.mkdir(parents=True, exist_ok=True)
    # First, so that a line before any `user` belongs to nobody, and not to our last device.
    _replace(folder / PASSWORDS, itertools.chain(_lines(extra.passwords), passwords(logins, devices)))
    _replace(folder / ACL, itertools.chain(_lines(extra.acl), access(logins, devices, form)))


def _lines(path: pathlib.Path | None) -> list[str]:
    return [] if path is None else path.read_text().splitlines()


def _replace(path: pathlib.Path, lines: Iterable[str]) -> None:
    handle, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fchmod(file.fileno(), 0o640)
            os.fsync(file.fileno())
        pathlib.Path(draft).replace(path)
    except BaseException:
        pathlib.Path(draft).unlink(missing_ok=True)
        raise
