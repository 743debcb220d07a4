"""A server of its own for a test: started on a free port, in a temporary folder, stopped with everything it started."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence


def executable(name: str) -> str:
    """The path of a server program. Fails, with what to do, when it is missing: a missing server is never a skip."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError(f"{name} is not installed: run `make setup-servers`, or see README.md")
    return found


def _die_with_parent() -> None:
    """In the child: a killed test run leaves no servers behind (Linux), and a file that may not grow (`full_disk`)
    is an error and not a signal.
    """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class ServerProcess:
    """One server program. `ready` says whether it answers; `start` again after `kill` uses the same port and folder."""

    def __init__(
        self,
        command: Sequence[str],
        folder: pathlib.Path,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = list(command)
        self.environment = environment
        """All of it; None is that of this process."""
        self.folder = folder
        self.log = folder / "server.log"
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 60.0) -> None:
        """`launch`, then `wait_ready`."""
        self.launch()
        self.wait_ready(seconds)

    def launch(self) -> None:
        """Starts it and does not wait. Call it from a thread that lives as long as the server: where the thread ends,
        Linux ends the server.
        """
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no lock taken
            )

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Returns when the server answers. Raises RuntimeError with the end of its log when it does not."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.command[0]} did not start:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.03)

    def _answers(self) -> bool:
        try:
            return self._ready()
        except OSError:
            return False

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs. Negative: by that signal."""
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    def terminate(self) -> None:
        """Asks it to stop, and does not wait."""
        assert self._process is not None
        self._process.terminate()

    def kill(self) -> None:
        """As by kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Asks it to stop, and insists after ten seconds."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self.kill()
