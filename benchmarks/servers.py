"""Real servers for a benchmark: each in a temporary folder, on a free port, gone when the benchmark is."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence

from stack.ports import any_free


@contextlib.contextmanager
def folder() -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(prefix="drover-bench-") as name:
        path = pathlib.Path(name)
        path.chmod(0o777)  # as root, mosquitto drops to its own user
        yield path


@contextlib.contextmanager
def mosquitto(path: pathlib.Path) -> Iterator[int]:
    """The port of a Mosquitto without limits on queues, and without persistence: it is the path that is measured."""
    port = any_free()
    config = path / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        "max_queued_messages 0\nmax_inflight_messages 0\n"
    )
    with _running("mosquitto", ["-c", str(config)], port):
        yield port


@contextlib.contextmanager
def redis(path: pathlib.Path) -> Iterator[str]:
    """The URL of a Redis with its append-only file on, fsync each second."""
    port = any_free()
    options = [
        "--port", str(port), "--bind", "127.0.0.1", "--dir", str(path), "--save", "",
        "--appendonly", "yes", "--appendfsync", "everysec",
    ]  # fmt: skip
    with _running("redis-server", options, port):
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def _running(name: str, arguments: Sequence[str], port: int) -> Iterator[None]:
    program = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        raise SystemExit(f"{name} is not installed")
    process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 20.0
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1.0).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise SystemExit(f"{name} did not start") from None
                time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(10)
