"""Options that several commands share."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

DataDir = Annotated[
    pathlib.Path,
    typer.Option("--data-dir", envvar="DROVER_DATA_DIR", help="Folder that keeps keys, databases, log and snapshots."),
]
DEFAULT_DATA_DIR = pathlib.Path(".drover")
ConfigFile = Annotated[pathlib.Path | None, typer.Option("--config", help="Settings file; drover.toml by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, for programs.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Tenant to act for; the running stack's by default.")]
