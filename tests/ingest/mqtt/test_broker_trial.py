"""The trial, on a broker that keeps everything, one that drops, one that forbids, and none."""

from __future__ import annotations

import getpass
import pathlib
from collections.abc import Iterator

import pytest

from ingest.mqtt.broker_trial import try_queue
from ingest.mqtt.source import Broker, Version
from stack.ports import any_free
from tests.servers.mosquitto import Mosquitto

pytestmark = pytest.mark.server


def _broker(server: Mosquitto) -> Broker:
    return Broker.from_url(f"mqtt://127.0.0.1:{server.port}")


@pytest.fixture
def forgetful(tmp_path: pathlib.Path) -> Iterator[Mosquitto]:
    """A broker with Mosquitto's default limit, and an ACL that closes the topics of the trial to one user."""
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite #\nuser nobody\ntopic readwrite elsewhere\n")
    acl.chmod(0o644)
    server = Mosquitto(
        tmp_path, f"allow_anonymous true\nmax_queued_messages 1000\nacl_file {acl}\nuser {getpass.getuser()}\n"
    )
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("version", ["auto", "5", "3.1.1"])
async def test_a_broker_that_keeps_everything(mosquitto: Mosquitto, version: Version) -> None:
    finding = await try_queue(_broker(mosquitto), version)
    assert finding.level == "ok"
    assert "kept 1,500 messages" in finding.text


async def test_a_broker_that_drops(forgetful: Mosquitto) -> None:
    finding = await try_queue(_broker(forgetful))
    assert finding.level == "fail"
    assert "kept 1,0" in finding.text  # the limit, and the few in flight
    assert "`max_queued_messages 0`" in finding.text


async def test_a_user_that_may_not(forgetful: Mosquitto) -> None:
    broker = Broker("127.0.0.1", forgetful.port, "nobody", None, None)
    finding = await try_queue(broker)
    assert finding.level == "ok"
    assert "could not be tried" in finding.text


async def test_no_broker() -> None:
    finding = await try_queue(Broker("127.0.0.1", any_free(), None, None, None))
    assert finding.level == "warn"
    assert "could not be tried" in finding.text
