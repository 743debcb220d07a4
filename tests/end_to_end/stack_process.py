"""The whole stack as a person starts it: `drover up` as a process, in a folder of its own."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import httpx

from runtime.tokens import Role, load_or_create_keys
from stack.ports import any_free

DROVER = str(pathlib.Path(sys.executable).with_name("drover"))


def drover(*arguments: str, data_dir: pathlib.Path, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
    """Runs a command of the CLI to its end."""
    return subprocess.run(
        [DROVER, *arguments, "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


class StackProcess:
    """A running `drover up`. `said` is what it has printed."""

    def __init__(self, data_dir: pathlib.Path, *options: str) -> None:
        self.data_dir = data_dir
        self.output = data_dir.with_suffix(".out")
        self._options = options
        self.http_port = any_free()
        self.tenant = "demo"

    def start(self, seconds: float = 120.0) -> None:
        """Returns when it says `ready`."""
        ports = [value for name in ("--http-port", "--mqtt-port", "--ingest-port", "--redis-port")
                 for value in (name, str(self.http_port if name == "--http-port" else any_free()))]  # fmt: skip
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                [DROVER, "up", "--data-dir", str(self.data_dir), *ports, *self._options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COLUMNS": "200"},
            )
        deadline = time.monotonic() + seconds
        while "\nready" not in self.said():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the stack did not get ready:\n{self.said()}\n{self.logs()}")
            time.sleep(0.05)
        token = load_or_create_keys(self.data_dir).issuer.issue("test", self.tenant, Role.ADMIN, 3600)
        self.token = token
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.http_port}", headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    def said(self) -> str:
        """Everything printed so far."""
        return self.output.read_text(errors="replace")

    def logs(self) -> str:
        """The end of every process's log."""
        files = sorted((self.data_dir / "logs").glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-1500:]}" for file in files)

    def described(self) -> dict[str, Any]:
        """What the stack wrote down about itself."""
        found: dict[str, Any] = json.loads((self.data_dir / "stack.json").read_text())
        return found

    def pid(self, name: str) -> int:
        """The present process id of a child."""
        return int(self.described()["pids"][name])

    def kill(self, name: str) -> None:
        """Kills a child with -9; the stack starts it again by itself."""
        os.kill(self.pid(name), signal.SIGKILL)

    def drover(self, *arguments: str, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Runs a command against this stack."""
        return drover(*arguments, data_dir=self.data_dir, timeout_s=timeout_s)

    def replay(self, file: pathlib.Path, *options: str) -> subprocess.Popen[str]:
        """Starts a replay that prints its result as JSON."""
        return subprocess.Popen(
            [DROVER, "replay", str(file), "--json", "--data-dir", str(self.data_dir), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """A REST answer; other than 200 is a failure."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def get_all(self, path: str, key: str = "items", **query: Any) -> list[dict[str, Any]]:
        """All pages."""
        rows: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = self.get(path, **query, **({"cursor": cursor} if cursor else {}))
            rows += page[key]
            cursor = page.get("next_cursor")
            if not cursor:
                return rows

    def accounts(self) -> dict[str, Any]:
        """What history has counted."""
        return self.get("/v1/accounts")

    def wait_until(self, what: str, holds: Any, seconds: float = 120.0) -> Any:
        """The first true answer of `holds`, which may fail to reach the stack meanwhile."""
        deadline = time.monotonic() + seconds
        answer: Any = None
        while time.monotonic() < deadline:
            try:
                answer = holds()
            except (httpx.HTTPError, AssertionError) as error:
                answer = None
                what = f"{what.split(' (', maxsplit=1)[0]} ({error})"
            if answer:
                return answer
            time.sleep(0.2)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.said()}\n{self.logs()}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stops it as Ctrl-C does; gives its exit code."""
        if hasattr(self, "http"):
            self.http.close()
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
