"""`drover config show`: every setting, its value, where it comes from; secrets hidden."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from typing import Any

import pydantic
import typer
from rich.console import Console
from rich.table import Table

from runtime.settings import COMMON, PREFIX
from stack.options import AsJson, ConfigFile
from stack.settings import SECTIONS, config_file, load_all

app = typer.Typer(help="Look at the settings.", no_args_is_help=True)


@app.callback()
def settings() -> None:
    """Look at the settings."""


def _shown(value: Any) -> Any:
    """A value as people may see it."""
    if isinstance(value, pydantic.SecretStr):
        return "********" if value.get_secret_value() else ""
    if isinstance(value, pydantic.BaseModel):
        return {name: _shown(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {name: _shown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


@app.command("show")
def show(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show every setting with its value and where it comes from."""
    loaded = load_all(config)
    file = config_file(config)
    document = tomllib.loads(file.read_text()) if file is not None else {}
    rows = []
    for section, model in SECTIONS.items():
        in_file = document if section == COMMON else document.get(section, {})
        for name, field in model.model_fields.items():
            variable = PREFIX + ("" if section == COMMON else section.upper() + "_") + name.upper()
            origin = variable if variable in os.environ else str(file) if name in in_file else "default"
            rows.append((section, name, _shown(getattr(loaded[section], name)), origin, field.description or ""))
    if as_json:
        print(
            json.dumps([dict(zip(("section", "name", "value", "from", "meaning"), row, strict=True)) for row in rows])
        )
        return
    console = Console()
    for section in SECTIONS:
        table = Table(title=f"[{section}]", title_justify="left", box=None, pad_edge=False)
        for heading in ("setting", "value", "from", "meaning"):
            table.add_column(heading, overflow="fold")
        for each, name, value, origin, meaning in rows:
            if each == section:
                table.add_row(name, str(value), origin, meaning)
        console.print(table, "")
