"""`python -m gateway` as a process: ready, stopping, and one line when a person must mend something."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import signal
import socket as sockets
import sys

import httpx
import pytest
import websockets

from runtime.tokens import Role, load_or_create_keys
from stack.ports import any_free

pytestmark = pytest.mark.server


async def _start(folder: pathlib.Path, redis_url: str, **settings: str) -> asyncio.subprocess.Process:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DROVER_")}
    environment |= {
        "DROVER_DATA_DIR": str(folder),
        "DROVER_REDIS_URL": redis_url,
        "DROVER_LOG_JSON": "true",
        **settings,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=environment, stderr=asyncio.subprocess.PIPE
    )


async def _line(process: asyncio.subprocess.Process, event: str) -> dict[str, str]:
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while True:
            raw = await process.stderr.readline()
            assert raw, "the process ended"
            line: dict[str, str] = json.loads(raw)
            if line["event"] == event:
                return line


async def test_it_says_ready_serves_and_says_goodbye(tmp_path: pathlib.Path, redis_url: str) -> None:
    port = any_free()
    process = await _start(tmp_path, redis_url, DROVER_GATEWAY_PORT=str(port), DROVER_GATEWAY_DEMO_TENANT="acme")
    try:
        assert (await _line(process, "ready"))["http"] == f"127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=False) as http:
            token = (await http.get("/v1/demo-session")).json()["token"]
            assert load_or_create_keys(tmp_path).verifier.verify(token).role is Role.DISPATCHER
            async with websockets.connect(
                f"ws://127.0.0.1:{port}/v1/live",
                subprotocols=["drover.live.v1", f"bearer.{token}"],  # type: ignore[list-item]
            ) as socket:
                await socket.send('{"type": "ping"}')
                while await socket.recv() != '{"type":"pong"}':
                    pass  # that the tracking service is away
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(10):
                    await socket.wait_closed()
                assert socket.close_code == 1001
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _fails(tmp_path: pathlib.Path, **settings: str) -> str:
    process = await _start(tmp_path, "redis://127.0.0.1:1/0", **settings)
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode == 1
    text = errors.decode()
    assert "Traceback" not in text
    return text.strip().splitlines()[-1]


async def test_what_a_person_must_mend_is_one_line(tmp_path: pathlib.Path) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1:{port}" in await _fails(tmp_path, DROVER_GATEWAY_PORT=port)
    assert "did you mean DROVER_GATEWAY_PORT" in await _fails(tmp_path, DROVER_GATEWAY_PROT="1")
    assert "gateway.tile_url" in await _fails(tmp_path, DROVER_GATEWAY_TILE_URL="javascript:1")
