"""How tests start Chromium: headless, with WebGL in software, and never talking to anyone."""

from __future__ import annotations

import os
from typing import Final

EXECUTABLE: Final = os.environ.get("DROVER_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
