"""The amqtt broker as a process: `python -m stack.amqtt_broker HOST PORT`. For laptops without Mosquitto."""

from __future__ import annotations

import asyncio
import sys

from amqtt.broker import Broker

from runtime.process import Stop, run
from runtime.settings import CommonSettings


async def serve(host: str, port: int, stop: Stop) -> None:
    """Serves MQTT 3.1.1 until asked to stop."""
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}", "max_connections": 5000}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        },
        asyncio.get_running_loop(),
    )
    await broker.start()
    await stop.wait()
    await broker.shutdown()


if __name__ == "__main__":
    run("mqtt", lambda stop: serve(sys.argv[1], int(sys.argv[2]), stop), CommonSettings())
