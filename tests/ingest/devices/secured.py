"""A Mosquitto that lets in only whom the register of credentials names, by the files that ingest writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import re
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiomqtt

from ingest.devices.credentials import Credentials, Issued, MosquittoFolder
from ingest.devices.device_name import DeviceName, user_name
from ingest.devices.mosquitto_files import ACL, PASSWORDS, Form, Login
from ingest.devices.registry import Device, Registry
from runtime.database import create_engine
from runtime.migrations import migrate
from runtime.tokens import load_or_create_keys
from tests.servers.mosquitto import Mosquitto

PATIENCE_S = 30.0
INGEST = Login("drover-ingest", "ingest's own: 1$")


class Secured:
    """The broker, the registers, and what each device was given."""

    def __init__(self, broker: Mosquitto, registry: Registry, credentials: Credentials) -> None:
        self.broker = broker
        self.registry = registry
        self.credentials = credentials
        self.issued: dict[DeviceName, Issued] = {}

    async def device(self, tenant: str, device_id: str) -> Device:
        """A device with credentials."""
        device = await self.registry.provision(DeviceName(tenant, device_id))
        self.issued[device.name] = await self.credentials.create(device)
        return device

    def reload(self) -> None:
        """Tells the broker that its files changed."""
        os.kill(self.broker.pid, signal.SIGHUP)

    def client(self, username: str | None, password: str | None, **options: Any) -> aiomqtt.Client:
        """A client of the broker, of MQTT 5 if nothing else is said."""
        chosen = {"protocol": aiomqtt.ProtocolVersion.V5, "timeout": PATIENCE_S} | options
        return aiomqtt.Client(self.broker.host, self.broker.port, username=username, password=password, **chosen)

    def of(self, name: DeviceName, **options: Any) -> aiomqtt.Client:
        """A client that signs in as a device, with what it was given."""
        return self.client(user_name(name), self.issued[name].password, **options)

    def ingest(self, **options: Any) -> aiomqtt.Client:
        """A client that signs in as ingest does."""
        return self.client(INGEST.username, INGEST.password, **options)


async def is_let_in(client: aiomqtt.Client) -> bool:
    """Whether the broker takes a CONNECT. Raises what is not a refusal for who it is."""
    try:
        async with client:
            return True
    except aiomqtt.MqttCodeError as error:
        if getattr(error.rc, "value", error.rc) in {0x87, 0x86, 4, 5}:
            return False
        raise


async def let_in(client: aiomqtt.Client) -> None:
    """Returns when the broker takes a CONNECT: it reads its files when it gets to it."""
    async with asyncio.timeout(PATIENCE_S):
        while not await is_let_in(client):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def secured(
    folder: pathlib.Path, form: Form = "devices", extra: str = "", config: str | None = None
) -> AsyncIterator[Secured]:
    """`extra` are more lines of the broker's configuration, `config` all of them but for the user it runs as."""
    url = f"sqlite+aiosqlite:///{folder / 'ingest.db'}"
    await migrate(url, "ingest")
    engine = create_engine(url)
    files = folder / "files"
    credentials = Credentials(
        engine, load_or_create_keys(folder).issuer, mosquitto=MosquittoFolder(files, [INGEST], form)
    )
    await credentials.refresh()
    own_user = "user root\n" if os.getuid() == 0 else ""  # else it would change to one that cannot read our files
    broker = Mosquitto(
        folder, f"allow_anonymous false\npassword_file {files / PASSWORDS}\nacl_file {files / ACL}\n{own_user}{extra}"
    )
    if config is not None:
        broker.config.write_text(config + own_user)
        (listener,) = re.findall(r"^listener (\d+) 127\.0\.0\.1$", config, re.MULTILINE)
        broker.port = int(listener)
    broker.start()
    try:
        yield Secured(broker, Registry(engine), credentials)
    finally:
        broker.stop()
        await engine.dispose()
