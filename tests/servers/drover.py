"""A process of Drover's own, `python -m MODULE`, with settings of its own and nothing of ours."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Final

from tests.servers.process import ServerProcess

ROOT: Final = pathlib.Path(__file__).resolve().parent.parent.parent


class DroverProcess(ServerProcess):
    """Is ready when it says so. `settings` are of the environment: names without `DROVER_`, for every start."""

    def __init__(self, module: str, folder: pathlib.Path, settings: Mapping[str, str]) -> None:
        self._settings = dict(settings)
        self._said_before = 0
        super().__init__([sys.executable, "-m", module], folder, self._says_ready)
        self.log = folder / f"{module.rpartition('.')[2]}.log"

    def launch(self, **more: str) -> None:
        """Starts it, this time with `more` settings."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
        ours = {f"DROVER_{name}": value for name, value in (self._settings | more).items()}
        self.environment = inherited | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"} | ours
        self._said_before = self.log.stat().st_size if self.log.is_file() else 0
        super().launch()

    def said(self) -> str:
        """What it has logged since it was started last."""
        with self.log.open("rb") as file:
            file.seek(self._said_before)
            return file.read().decode(errors="replace")

    def _says_ready(self) -> bool:
        return " ready " in self.said()
