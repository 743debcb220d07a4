"""A log that is dated wrongly, on a real Redis: by a clock that was set back, and as another clock sees it."""

from __future__ import annotations

import time

import pytest

from runtime import log_clock, redis_client
from runtime.log_clock import clock_findings
from runtime.partitioned_log import stream_key

pytestmark = pytest.mark.server


async def test_a_clock_that_goes_right(redis_url: str) -> None:
    async with redis_client.connect(redis_url) as client:
        assert [finding.level for finding in await clock_findings(client, 2)] == ["ok"]
        await client.xadd(stream_key(1), {"k": "0", "b": ""})
        assert [finding.level for finding in await clock_findings(client, 2)] == ["ok"]


async def test_a_clock_that_was_set_back(redis_url: str) -> None:
    async with redis_client.connect(redis_url) as client:
        await client.xadd(stream_key(1), {"k": "0", "b": ""}, id=f"{round(time.time() * 1e3) + 45 * 60_000}-0")
        (finding,) = await clock_findings(client, 2)
        assert finding.level == "warn"
        assert "set back" in finding.text
        assert "45 min" in finding.text
        # By which it is dated from then on.
        assert (await client.xadd(stream_key(1), {"k": "0", "b": ""})).endswith(b"-1")


@pytest.mark.parametrize(("ahead_s", "says"), [(-73.0, "73 s ahead of"), (3 * 3600.0, "3 h behind")])
async def test_another_clock(redis_url: str, monkeypatch: pytest.MonkeyPatch, ahead_s: float, says: str) -> None:
    real = time.time
    monkeypatch.setattr(log_clock.time, "time", lambda: real() + ahead_s)
    async with redis_client.connect(redis_url) as client:
        (finding,) = await clock_findings(client, 1)
    assert finding.level == "warn"
    assert says in finding.text
