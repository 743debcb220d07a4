"""What a running stack writes down about itself, so that other commands find it: `stack.json` in the data folder."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from runtime.problems import FatalError
from stack.processes import Addresses

_NAME = "stack.json"


def write(data_dir: pathlib.Path, addresses: Addresses, tenant: str, pids: dict[str, int]) -> None:
    """Replaces the file in one step."""
    draft = data_dir / f"{_NAME}.new"
    draft.write_text(json.dumps({"addresses": dataclasses.asdict(addresses), "tenant": tenant, "pids": pids}, indent=2))
    draft.replace(data_dir / _NAME)


def read(data_dir: pathlib.Path) -> tuple[Addresses, str]:
    """Addresses and tenant of the stack that runs, or ran last, on this folder. Raises FatalError when none did."""
    try:
        found = json.loads((data_dir / _NAME).read_text())
        return Addresses(**found["addresses"]), str(found["tenant"])
    except FileNotFoundError as error:
        raise FatalError(
            f"no stack has run on {data_dir}: start one with `drover up --data-dir {data_dir}`, or name the addresses"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FatalError(f"{data_dir / _NAME} cannot be read: {error}") from error
