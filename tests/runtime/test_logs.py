"""The log on a full disk."""

from __future__ import annotations

import pathlib

import pytest

from runtime import logs


def test_a_log_that_cannot_be_written_is_no_error() -> None:
    full = pathlib.Path("/dev/full").open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 - closing it fails
    enduring = logs._Enduring(full)
    lost = logs._LOST._value.get()
    for _ in range(2_000):
        assert enduring.write("a line of some length\n") == 22
    enduring.flush()
    assert logs._LOST._value.get() > lost
    with pytest.raises(OSError, match="No space left"):
        full.close()
