"""Compiling the kernels: once, with what went wrong in one line, and stopped by Ctrl-C at once."""

from __future__ import annotations

import asyncio
import pathlib

import psutil
import pytest

from runtime.problems import FatalError
from stack import warmup


@pytest.fixture
def mark(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    path = tmp_path / "cache" / "compiled"
    monkeypatch.setattr(warmup, "CHECK", "pass")
    monkeypatch.setattr(warmup, "_mark", lambda: path)
    return path


def test_kernels_are_compiled_once(mark: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "PARTS", {"first": "pass", "second": "pass"})
    said: list[str] = []
    asyncio.run(warmup.ensure(said.append))
    assert mark.exists()
    assert {line.partition(" after")[0] for line in said[1:]} == {
        "kernels of first compiled",
        "kernels of second compiled",
    }
    asyncio.run(warmup.ensure(said.append))
    assert len(said) == 3


def test_what_went_wrong_is_one_line(mark: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"first": "raise SystemExit('no room')", "second": "import time; time.sleep(600)"}
    monkeypatch.setattr(warmup, "PARTS", parts)
    with pytest.raises(FatalError, match=r"the kernels of first failed: .*no room"):
        asyncio.run(warmup.ensure(print))
    assert not mark.exists()


def test_cancelled_it_leaves_nothing_running(mark: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "PARTS", dict.fromkeys(("first", "second"), "import time; time.sleep(600)"))
    before = set(psutil.Process().children())

    async def cancelled() -> None:
        async with asyncio.timeout(2):
            await warmup.ensure(lambda _: None)

    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())
    assert set(psutil.Process().children()) <= before
    assert not mark.exists()
