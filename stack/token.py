"""`drover token`: issues a token from the key in the data folder."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from runtime.tokens import Role, load_or_create_keys
from stack.options import DEFAULT_DATA_DIR, AsJson, DataDir


def command(
    subject: Annotated[str, typer.Option(help="Who it speaks for; for the role device, the device id.")] = "operator",
    tenant: Annotated[str, typer.Option(help="Tenant it is good for.")] = "demo",
    role: Annotated[Role, typer.Option(help="What it allows.")] = Role.DISPATCHER,
    hours: Annotated[float, typer.Option(min=0.01, help="How long it holds.")] = 12.0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Issue a token for REST, WebSocket and gRPC, signed with the key in the data folder."""
    text = load_or_create_keys(data_dir).issuer.issue(subject, tenant, role, hours * 3600)
    if as_json:
        print(json.dumps({"token": text, "subject": subject, "tenant": tenant, "role": role.value, "hours": hours}))
    else:
        print(text)
