"""Build hook: the generated wire vocabulary and, for a wheel, the built web page must be there before it is packed."""

from __future__ import annotations

import pathlib
import runpy
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DroverBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs protos/build.py; refuses a wheel without the page, because a gateway without a map is a broken wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Called by hatchling before it collects files; `version` is `editable` or `standard`."""
        root = pathlib.Path(self.root)
        runpy.run_path(str(root / "protos" / "build.py"))["build"]()
        if self.target_name == "wheel" and version == "standard":
            page = root / "gateway" / "live_map" / "dist" / "index.html"
            if not page.is_file():
                raise SystemExit("the web page is not built: run `make web` first")
