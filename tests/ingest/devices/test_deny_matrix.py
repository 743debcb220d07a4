"""Who may do what at the broker: everything that must be denied is tried on real Mosquitto, and so is what must not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import aiomqtt
import pytest
import pytest_asyncio

from ingest.devices.device_name import DeviceName, user_name
from ingest.devices.mosquitto_files import Form
from ingest.mqtt.publisher import Publisher
from tests.ingest.devices.secured import PATIENCE_S, Secured, is_let_in, let_in, secured

pytestmark = [pytest.mark.server, pytest.mark.asyncio(loop_scope="module")]

A, B, C = DeviceName("acme", "truck-1"), DeviceName("acme", "truck-2"), DeviceName("umbrella", "truck-1")
READINGS = ["position", "sensor", "tag", "batch", "json", "position/json", "sensor/json", "tag/json", "batch/json"]
ANSWERS = ["cmd/ack", "cmd/ack/json"]
DOWN = ["cmd", "cmd/json", "ack", "ack/json"]
ELSEWHERE = [
    "drover/v1",
    "drover/v1/acme",
    "drover/v1/acme/position",
    "drover/v2/acme/truck-1/position",
    "drover/doctor/x",
    "owntracks/acme/truck-1",
    "spBv1.0/acme/NDATA/truck-1",
    "spBv1.0/acme/NCMD/truck-1",
    "acme/truck-1",
    "truck-1",
    "$SYS/broker/uptime",
]
NOT_ALLOWED = 0x87
SUCCESS = {0x00, 0x10}  # the second says that nobody is subscribed


def topics(name: DeviceName, leaves: list[str]) -> list[str]:
    return [f"drover/v1/{name.tenant}/{name.device_id}/{leaf}" for leaf in leaves]


def everything() -> list[str]:
    """Every topic that anything is said about."""
    leaves = [*READINGS, *ANSWERS, *DOWN, "", "batch/json/json", "other"]
    return [*itertools.chain.from_iterable(topics(name, leaves) for name in (A, B, C)), *ELSEWHERE]


def may_publish(name: DeviceName | None) -> set[str]:
    """What a device may publish to; None is ingest."""
    if name is not None:
        return set(topics(name, READINGS + ANSWERS))
    down = itertools.chain.from_iterable(topics(each, DOWN) for each in (A, B, C))
    return {*down, "drover/doctor/x", "spBv1.0/acme/NCMD/truck-1"}


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["devices", "pattern"])
async def at(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    form: Form = request.param
    async with secured(tmp_path_factory.mktemp("secured"), form) as running:
        for name in (A, B, C):
            await running.device(*name)
        running.reload()
        await let_in(running.of(C))
        yield running


def who(at: Secured, name: DeviceName | None, protocol: aiomqtt.ProtocolVersion) -> aiomqtt.Client:
    return at.ingest(protocol=protocol) if name is None else at.of(name, protocol=protocol)


async def heard_until(client: aiomqtt.Client, fence: str) -> list[tuple[str, bytes]]:
    """What came before the first message of a topic."""
    heard: list[tuple[str, bytes]] = []
    async with asyncio.timeout(PATIENCE_S):
        async for message in client.messages:
            if message.topic.value == fence:
                return heard
            assert isinstance(message.payload, bytes)
            heard.append((message.topic.value, message.payload))
    raise AssertionError("the connection ended")


async def published(client: aiomqtt.Client, topics: list[str]) -> dict[str, int]:
    """What the broker answered to a message to each topic."""
    codes: dict[str, int] = {}
    publisher = Publisher(client, is_version_5=True)
    with contextlib.suppress(aiomqtt.MqttError):
        async with client, asyncio.timeout(PATIENCE_S):
            for topic in topics:
                codes[topic] = await publisher.publish(topic, b"by itself", 1, None)
    return codes


@pytest.mark.parametrize("name", [A, B, C, None])
@pytest.mark.parametrize("version", [5, 4])
async def test_publishing(at: Secured, name: DeviceName | None, version: int) -> None:
    protocol = aiomqtt.ProtocolVersion(version)
    allowed = may_publish(name)
    denied = [topic for topic in everything() if topic not in allowed]
    async with at.ingest() as watcher:
        await watcher.subscribe("#", qos=1)
        codes = await published(who(at, name, protocol), sorted(allowed))
        # Debian's Mosquitto 2.0.11 also hangs up on who tries what is denied: so each trial has its own connection.
        for topic in denied:
            codes |= await published(who(at, name, protocol), [topic])
        await watcher.publish("drover/doctor/fence", qos=1)
        heard = [topic for topic, _ in await heard_until(watcher, "drover/doctor/fence")]
    assert sorted(heard) == sorted(allowed)
    if version == 5:
        assert {topic for topic, code in codes.items() if code in SUCCESS} == allowed
        assert {codes[topic] for topic in denied} == {NOT_ALLOWED}


@pytest.mark.parametrize("name", [A, B, C])
@pytest.mark.parametrize("version", [5, 4])
async def test_subscribing(at: Secured, name: DeviceName, version: int) -> None:
    """Mosquitto grants every subscription, and then delivers only what may be read: so whatever a device asks for, it
    hears its own commands and receipts, and nothing else of all that goes on.
    """
    own = "/".join(name)
    filters = [
        *everything(),
        "#", "+/#", "drover/#", "drover/v1/#", "drover/v1/acme/#", "drover/v1/umbrella/#", "drover/v1/+/+/cmd",
        "drover/v1/+/+/ack", "drover/v1/acme/+/cmd/#", "drover/v1/+/truck-1/#", "+/+/+/+/ack/json",
        f"drover/v1/{own}/#", f"drover/v1/{own}/+", "$SYS/#", "$SYS/broker/#", "$share/thieves/#",
        "$share/thieves/drover/v1/+/+/position",
        "owntracks/#", "spBv1.0/#",
    ]  # fmt: skip
    filters.remove("drover/v1/acme/truck-1/")  # an empty level is asked for with the rest, by wildcards
    fence = f"drover/v1/{own}/ack/json"
    async with at.of(name, protocol=aiomqtt.ProtocolVersion(version)) as client:
        for filter_ in filters:
            await client.subscribe(filter_, qos=1)
        for other in (None, A, B, C):
            async with who(at, other, aiomqtt.ProtocolVersion.V5) as talker:
                for topic in sorted(may_publish(other) - {fence}):
                    await talker.publish(topic, b"for its own", qos=1)
        async with at.ingest() as watcher:
            await watcher.publish(fence, qos=1)
        heard = {topic for topic, _ in await heard_until(client, fence)}
    assert heard == set(topics(name, DOWN)) - {fence}


@pytest.mark.parametrize("filter_", ["#", "drover/v1/+/+/cmd", "drover/v1/acme/truck-2/cmd", "drover/v1/acme/+/#"])
async def test_a_session_keeps_nothing_for_who_may_not_hear_it(at: Secured, filter_: str) -> None:
    """What is queued while its subscriber is away is delivered by the same rules."""
    session = {"identifier": "thief", "protocol": aiomqtt.ProtocolVersion.V311, "clean_session": False}
    fence = "drover/v1/acme/truck-1/ack"
    async with at.of(A, **session) as client:
        await client.subscribe(filter_, qos=1)
        await client.subscribe(fence, qos=1)
    async with at.ingest() as watcher:
        await watcher.publish("drover/v1/acme/truck-2/cmd", b"not for you", qos=1)
        await watcher.publish(fence, qos=1)
    async with at.of(A, **session) as client:
        assert await heard_until(client, fence) == []
    async with at.of(A, **session | {"clean_session": True}):
        pass


async def test_a_retained_message_is_not_for_everybody(at: Secured) -> None:
    async with at.ingest() as watcher:
        await watcher.publish("drover/v1/acme/truck-2/cmd", b"kept", qos=1, retain=True)
        async with at.of(A) as client:
            await client.subscribe("drover/v1/acme/truck-2/cmd", qos=1)
            await client.subscribe("drover/v1/acme/truck-1/ack", qos=1)
            await watcher.publish("drover/v1/acme/truck-1/ack", qos=1)
            assert await heard_until(client, "drover/v1/acme/truck-1/ack") == []
        async with at.of(B) as client, asyncio.timeout(PATIENCE_S):
            await client.subscribe("drover/v1/acme/truck-2/cmd", qos=1)
            assert (await anext(client.messages)).payload == b"kept"
        await watcher.publish("drover/v1/acme/truck-2/cmd", b"", qos=1, retain=True)


async def test_a_last_will_speaks_for_nobody_else(at: Secured) -> None:
    will = aiomqtt.Will("drover/v1/acme/truck-2/position", b"forged", qos=1)
    async with at.ingest() as watcher:
        await watcher.subscribe("#", qos=1)
        with contextlib.suppress(aiomqtt.MqttError):  # the broker closes the first when the second comes, and its will
            async with at.of(A, will=will, identifier="testator"), at.of(A, identifier="testator"):
                pass
        await watcher.publish("drover/doctor/fence", qos=1)
        assert await heard_until(watcher, "drover/doctor/fence") == []


@pytest.mark.parametrize("version", [5, 4])
async def test_who_is_not_let_in(at: Secured, version: int) -> None:
    protocol = aiomqtt.ProtocolVersion(version)
    username, password = user_name(A), at.issued[A].password
    for name, given in [
        (username, password[:-1]),
        (username, password + "x"),
        (username, ""),
        (username, None),
        (username, at.issued[B].password),
        (username, at.issued[C].password),
        (user_name(C), password),
        ("truck-1", password),
        ("acme/truck-9", password),
        ("acme/+", password),
        ("#", password),
        ("drover-ingest", password),
        ("drover-ingest", None),
        (None, None),
    ]:
        assert not await is_let_in(at.client(name, given, protocol=protocol)), name
    assert await is_let_in(at.client(username, password, protocol=protocol))


@contextlib.asynccontextmanager
async def until_the_broker_ends_it(client: aiomqtt.Client) -> AsyncIterator[None]:
    """A connection, which the broker must have closed some time after the end of the block."""
    was_ended = False
    with contextlib.suppress(aiomqtt.MqttError):
        async with client, asyncio.timeout(PATIENCE_S):
            yield
            try:
                async for _ in client.messages:
                    pass
            except aiomqtt.MqttError:
                was_ended = True
    assert was_ended


async def test_rotated_and_revoked(at: Secured) -> None:
    name = DeviceName("acme", "aa:bb:cc")
    device = await at.device(*name)
    first = at.of(name)
    at.reload()
    await let_in(first)
    async with at.of(B) as bystander:
        async with until_the_broker_ends_it(at.of(name)):
            at.issued[name] = await at.credentials.rotate(device)
            at.reload()
        assert not await is_let_in(first)
        async with until_the_broker_ends_it(at.of(name)):
            await at.credentials.revoke(device)
            at.reload()
        assert not await is_let_in(at.of(name))
        at.issued[name] = await at.credentials.rotate(device)
        at.reload()
        await let_in(at.of(name))
        async with at.ingest() as watcher, at.of(name) as client:
            await watcher.subscribe("drover/v1/acme/aa:bb:cc/#", qos=1)
            await client.publish("drover/v1/acme/aa:bb:cc/position", b"back", qos=1)
            async with asyncio.timeout(PATIENCE_S):
                assert (await anext(watcher.messages)).payload == b"back"
        await bystander.publish("drover/v1/acme/truck-2/position", qos=1)  # untouched by all that
