"""Commands: the table on both databases, the way over a real broker to a device and back, and a death in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiomqtt
import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from drover.api.ingest.v1 import device_commands_pb2 as pb
from drover.api.ingest.v1 import device_commands_pb2_grpc as stubs
from drover.api.ingest.v1 import ingest_service_pb2_grpc as registry_stubs
from drover.api.ingest.v1.ingest_service_pb2 import ProvisionDeviceRequest
from drover.command.v1.command_pb2 import COMMAND_RESULT_DONE, COMMAND_RESULT_FAILED, CommandAnswer
from drover.command.v1.command_pb2 import Command as CommandMessage
from ingest.devices.command_answers import FILTERS, CommandAnswers, parse
from ingest.devices.command_dispatch import CommandDispatch
from ingest.devices.commands import (
    Answer,
    Command,
    Commands,
    KeyReusedError,
    Order,
    TooManyCommandsError,
    UnknownCommandError,
)
from ingest.devices.commands_api import DeviceCommandsService
from ingest.devices.device_name import DeviceName
from ingest.devices.registry import Device, Registry
from ingest.messages import from_pairs
from ingest.mqtt.outbox import NotConnectedError
from ingest.mqtt.source import Broker, MqttOptions, MqttSource
from runtime.database import create_engine
from runtime.grpc_client import channel, metadata, problem_of
from runtime.grpc_server import Doorkeeper
from runtime.grpc_streams.server import GrpcStreamServer
from runtime.migrations import migrate
from runtime.problems import Invalid, Unavailable
from runtime.process import Stop
from runtime.tokens import Role, load_or_create_keys
from tests.ingest.test_process import Ingest
from tests.servers.databases import database_url
from tests.servers.mosquitto import Mosquitto
from tests.servers.redis import RedisServer

__all__ = ["database_url"]  # the fixture

PATIENCE_S = 30.0
SECOND_US = 1_000_000
ORDER = Order("set_interval", '{"seconds":30}', b"\x00\x01", 3600)


class Table:
    """The commands of an empty database, and some devices."""

    def __init__(self, commands: Commands, registry: Registry, truck: Device, van: Device) -> None:
        self.commands = commands
        self.registry = registry
        self.truck = truck
        self.van = van

    async def accept(self, device: Device | None = None, **changes: Any) -> Command:
        command, is_new = await self.commands.accept(device or self.truck, ORDER._replace(**changes))
        assert is_new
        return command

    async def state(self, command: Command, device: Device | None = None) -> str:
        return (await self.commands.get(device or self.truck, command.command_id)).state


@contextlib.asynccontextmanager
async def _table(url: str, **options: Any) -> AsyncIterator[Table]:
    await migrate(url, "ingest")
    engine = create_engine(url)
    async with engine.begin() as connection:
        for name in ("device_commands", "devices"):  # MariaDB is shared among tests
            await connection.execute(text(f"DELETE FROM {name}"))
    registry = Registry(engine)
    truck, van = [await registry.provision(DeviceName("acme", name)) for name in ("truck", "van")]
    try:
        yield Table(Commands(engine, **options), registry, truck, van)
    finally:
        await engine.dispose()


@pytest.fixture
async def table(database_url: str) -> AsyncIterator[Table]:
    async with _table(database_url, max_open=3) as made:
        yield made


class FakeBroker:
    """Is heard by whom it is told; remembers what was published."""

    def __init__(self, *listeners: str) -> None:
        self.listeners = set(listeners)
        self.heard: list[tuple[str, bytes, int | None]] = []
        self.error: Exception | None = None

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, expiry_s: int | None = None) -> bool:
        assert qos == 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if topic not in self.listeners:
            return False
        self.heard.append((topic, payload, expiry_s))
        return True


async def test_a_key_stands_for_one_command(table: Table) -> None:
    command, is_new = await table.commands.accept(table.truck, ORDER, "key")
    again, is_new_again = await table.commands.accept(table.truck, ORDER, "key")
    assert (is_new, is_new_again, again) == (True, False, command)
    with pytest.raises(KeyReusedError):
        await table.commands.accept(table.truck, ORDER._replace(name="other"), "key")
    _, is_new = await table.commands.accept(table.van, ORDER, "key")  # another device's is another key
    assert is_new
    at_once = await asyncio.gather(*(table.commands.accept(table.van, ORDER, "at once") for _ in range(5)))
    assert len({each.command_id for each, _ in at_once}) == 1
    assert [is_new for _, is_new in at_once].count(True) == 1


async def test_no_more_open_commands_than_allowed(table: Table) -> None:
    first = await table.accept()
    results = await asyncio.gather(
        *(table.commands.accept(table.truck, ORDER) for _ in range(4)), return_exceptions=True
    )
    assert sum(isinstance(result, TooManyCommandsError) for result in results) == 2
    await table.accept(table.van)
    assert await table.commands.answered([Answer("acme", "truck", first.command_id, True, "")], 1) == 1
    await table.accept()


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 65},
        {"parameters_json": "x" * 17_000},
        {"payload": b"x" * 65_537},
        {"expires_in_s": 31 * 86_400},
    ],
)
async def test_what_cannot_be_a_command(tmp_path: pathlib.Path, wrong: dict[str, Any]) -> None:
    async with _table(f"sqlite+aiosqlite:///{tmp_path}/test.db") as table:
        with pytest.raises(Invalid):
            await table.commands.accept(table.truck, ORDER._replace(**wrong))
        with pytest.raises(Invalid):
            await table.commands.accept(table.truck, ORDER, "k\n")
        assert await table.commands.page(table.truck, 2**62, 10) == []


async def test_the_oldest_of_each_device_is_taken_and_by_one_only(table: Table) -> None:
    first, second, third = await table.accept(), await table.accept(), await table.accept(table.van)
    now_us = first.created_at_us + SECOND_US
    taken = await asyncio.gather(*(table.commands.take_due(now_us, 10) for _ in range(4)))
    due = [each for some in taken for each in some]
    assert sorted((each.command.command_id, each.device_id) for each in due) == [
        (first.command_id, "truck"),
        (third.command_id, "van"),
    ]
    # Who took it died: after a while it is anybody's again.
    assert await table.commands.take_due(now_us + 9 * SECOND_US, 10) == []
    again = await table.commands.take_due(now_us + 11 * SECOND_US, 10)
    assert {each.command.command_id for each in again} == {first.command_id, third.command_id}
    await table.commands.sent(first.command_id, now_us)
    assert await table.state(first) == "sent"
    assert [each.command.command_id for each in await table.commands.take_due(now_us, 10)] == [second.command_id]


async def test_who_was_not_there_is_tried_later_and_later(table: Table) -> None:
    command = await table.accept()
    now_us, pauses = command.created_at_us, []
    for _ in range(8):
        (due,) = await table.commands.take_due(now_us, 10)
        await table.commands.unheard(due, now_us)
        pause_us = SECOND_US
        while not await _is_due(table, now_us + pause_us):
            pause_us += SECOND_US
        pauses.append(pause_us // SECOND_US)
        now_us += pause_us
    assert pauses == [2, 4, 8, 16, 32, 64, 64, 64]


async def _is_due(table: Table, now_us: int) -> bool:
    engine = table.commands._engine
    async with engine.connect() as connection:
        found = await connection.execute(text("SELECT try_at_us FROM device_commands"))
        return bool(found.scalar_one() <= now_us)


async def test_answers_count_for_the_device_s_own_commands_only(table: Table) -> None:
    mine, other = await table.accept(), await table.accept(table.van)
    for answer in (
        Answer("acme", "van", mine.command_id, True, "forged"),
        Answer("umbrella", "truck", mine.command_id, True, "forged"),
        Answer("acme", "truck", 10**9, True, "never sent"),
    ):
        assert await table.commands.answered([answer], 5) == 0
    assert await table.state(mine) == "queued"
    done = Answer("acme", "truck", mine.command_id, True, "d" * 600)
    failed = Answer("acme", "van", other.command_id, False, "no fuel")
    assert await table.commands.answered([done, failed, done], 5) == 2
    shown = await table.commands.get(table.truck, mine.command_id)
    assert (shown.state, shown.detail, shown.answered_at_us) == ("acknowledged", "d" * 500, 5)
    # An answer that was faster than the note that it was sent.
    await table.commands.sent(mine.command_id, 4)
    shown = await table.commands.get(table.truck, mine.command_id)
    assert (shown.state, shown.sent_at_us) == ("acknowledged", 4)
    assert await table.commands.answered([done._replace(is_done=False)], 6) == 0
    assert await table.state(other, table.van) == "failed"
    with pytest.raises(UnknownCommandError):
        await table.commands.get(table.van, mine.command_id)


async def test_what_waits_too_long_expires_and_is_forgotten_in_the_end(table: Table) -> None:
    short, long = await table.accept(expires_in_s=10), await table.accept(expires_in_s=100)
    await table.commands.expire(short.expires_at_us - 1)
    assert await table.state(short) == "queued"
    await table.commands.expire(short.expires_at_us)
    assert [await table.state(each) for each in (short, long)] == ["expired", "queued"]
    assert await table.commands.answered([Answer("acme", "truck", short.command_id, True, "late")], 9) == 1
    assert await table.state(short) == "acknowledged"
    await table.commands.expire(short.expires_at_us + 30 * 86_400 * SECOND_US)
    assert [each.command_id for each in await table.commands.page(table.truck, 2**62, 10)] == [long.command_id]
    assert await table.state(long) == "expired"


async def test_pages_are_the_newest_first(table: Table) -> None:
    ids = [(await table.accept()).command_id for _ in range(3)]
    assert [each.command_id for each in await table.commands.page(table.truck, 2**62, 2)] == [ids[2], ids[1]]
    assert [each.command_id for each in await table.commands.page(table.truck, ids[1], 2)] == [ids[0]]


async def test_dispatch_goes_to_all_brokers_in_both_forms(tmp_path: pathlib.Path) -> None:
    async with _table(f"sqlite+aiosqlite:///{tmp_path}/test.db") as table:
        own = "drover/v1/acme/truck/cmd"
        here, away = FakeBroker(own, f"{own}/json"), FakeBroker()
        away.error = NotConnectedError("away")
        dispatch = CommandDispatch(table.commands, [away, here])
        command, nobody_s = await table.accept(), await table.accept(table.van)
        running = asyncio.create_task(dispatch.run())
        async with asyncio.timeout(PATIENCE_S):
            while await table.state(command) != "sent":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            second = await table.accept(parameters_json="", payload=b"")
            while await table.state(second) != "sent":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        running.cancel()
        assert [topic for topic, _, _ in here.heard] == [own, f"{own}/json"] * 2
        (_, first, expiry_s), (_, first_json, _), (_, plain, _), (_, plain_json, _) = here.heard
        assert expiry_s is not None
        assert 3590 <= expiry_s <= 3600
        assert CommandMessage.FromString(first) == CommandMessage(
            command_id=command.command_id,
            name="set_interval",
            parameters_json='{"seconds":30}',
            payload=b"\x00\x01",
            expires_at_us=command.expires_at_us,
        )
        assert json.loads(first_json) == {
            "command_id": command.command_id,
            "name": "set_interval",
            "parameters": {"seconds": 30},
            "payload_base64": "AAE=",
            "expires_at_us": command.expires_at_us,
        }
        assert CommandMessage.FromString(plain).parameters_json == ""
        assert json.loads(plain_json)["parameters"] is None
        assert await table.state(nobody_s, table.van) == "queued"


TRUCK_S = b"drover/v1/acme/truck/cmd/ack"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        (TRUCK_S, CommandAnswer(command_id=7, result=COMMAND_RESULT_DONE), Answer("acme", "truck", 7, True, "")),
        (
            TRUCK_S,
            CommandAnswer(command_id=7, result=COMMAND_RESULT_FAILED, detail="no"),
            Answer("acme", "truck", 7, False, "no"),
        ),
        (TRUCK_S, CommandAnswer(command_id=7), None),
        (TRUCK_S, CommandAnswer(command_id=2**63, result=COMMAND_RESULT_DONE), None),
        (TRUCK_S + b"/json", b'{"command_id": 7}', Answer("acme", "truck", 7, True, "")),
        (TRUCK_S + b"/json", b'{"command_id": 7, "result": "failed", "x": 1}', Answer("acme", "truck", 7, False, "")),
        (TRUCK_S + b"/json", b'{"command_id": 7, "result": "maybe"}', None),
        (TRUCK_S + b"/json", b'{"command_id": -1}', None),
        (TRUCK_S + b"/json", b"{}", None),
        (b"drover/v1/acme/ /cmd/ack/json", b'{"command_id": 7}', None),
        (b"cmd/ack", b"", None),
    ],
)
def test_answers(name: bytes, data: CommandAnswer | bytes, expected: Answer | None) -> None:
    assert parse(name, data if isinstance(data, bytes) else data.SerializeToString()) == expected


@given(st.sampled_from([TRUCK_S, TRUCK_S + b"/json"]), st.binary(max_size=100))
def test_any_bytes_are_an_answer_or_none(name: bytes, data: bytes) -> None:
    parse(name, data)


@pytest.mark.server
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_over_a_real_broker_and_back(tmp_path: pathlib.Path, mosquitto: Mosquitto, version: str) -> None:
    """What was queued while the device was away reaches it when it comes, and its answer ends it."""
    is_version_5 = version == "5"
    async with _table(f"sqlite+aiosqlite:///{tmp_path}/test.db") as table:
        name = f"truck-{version}"
        device = await table.registry.provision(DeviceName("acme", name))
        answers = CommandAnswers(table.commands)
        options = MqttOptions(client_id=f"commands-{version}", version="5" if is_version_5 else "3.1.1", gather_s=0.0)
        source = MqttSource(Broker(mosquitto.host, mosquitto.port, None, None, None), FILTERS, answers, options)
        stop = Stop()
        reading = asyncio.create_task(source.run(stop))
        dispatching = asyncio.create_task(CommandDispatch(table.commands, [source]).run())
        topic = f"drover/v1/acme/{name}/cmd"
        protocol = aiomqtt.ProtocolVersion.V5 if is_version_5 else aiomqtt.ProtocolVersion.V311

        async def until(command: Command, state: str) -> None:
            while await table.state(command, device) != state:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

        async with asyncio.timeout(2 * PATIENCE_S):
            if is_version_5:  # only there does a broker say that nobody is there
                command = await table.accept(device)
                async with aiomqtt.Client(mosquitto.host, mosquitto.port, protocol=protocol) as client:
                    await client.subscribe(topic, qos=1)
                    message = await anext(client.messages)
                assert message.properties is not None
                assert 3500 <= message.properties.MessageExpiryInterval <= 3600
                await until(command, "sent")
            async with aiomqtt.Client(mosquitto.host, mosquitto.port, protocol=protocol) as client:
                await client.subscribe(f"{topic}/json", qos=1)
                command = await table.accept(device, name="reboot")
                received = json.loads((await anext(client.messages)).payload)
                while received["name"] != "reboot":
                    received = json.loads((await anext(client.messages)).payload)
                assert received["command_id"] == command.command_id
                await client.publish(f"{topic}/ack/json", b"nonsense", qos=1)
                answer = {"command_id": command.command_id, "result": "failed", "detail": "no power"}
                await client.publish(f"{topic}/ack/json", json.dumps(answer), qos=1)
                await until(command, "failed")
                assert (await table.commands.get(device, command.command_id)).detail == "no power"
        dispatching.cancel()
        stop.set()
        await reading


async def test_answers_wait_for_a_database_that_is_away(tmp_path: pathlib.Path) -> None:
    async with _table(f"sqlite+aiosqlite:///{tmp_path}/test.db") as table:
        command = await table.accept()
        commands = Away(table.commands)
        answers = CommandAnswers(commands)  # type: ignore[arg-type]
        data = CommandAnswer(command_id=command.command_id, result=COMMAND_RESULT_DONE).SerializeToString()
        messages = from_pairs([(TRUCK_S, data), (TRUCK_S, b"\xff")], 1, "mqtt")
        await answers.accept(messages)
        assert commands.tries == 3
        assert await table.state(command) == "acknowledged"
        commands.tries = -(10**9)
        waiting = asyncio.create_task(answers.accept(messages))
        await asyncio.sleep(0)
        answers.close()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(waiting, PATIENCE_S)


class Away:
    """Commands whose database answers at the third try."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self.tries = 0

    async def answered(self, answers: list[Answer], now_us: int) -> int:
        self.tries += 1
        if self.tries < 3:
            raise Unavailable("away")
        return await self._commands.answered(answers, now_us)


async def test_who_may_send_and_read(tmp_path: pathlib.Path) -> None:
    keys = load_or_create_keys(tmp_path)
    async with _table(f"sqlite+aiosqlite:///{tmp_path}/test.db", max_open=2) as table:
        service = DeviceCommandsService(table.registry, table.commands)
        async with (
            GrpcStreamServer("127.0.0.1:0", Doorkeeper(keys.verifier), {}, [service.add], grace_s=0.1) as server,
            channel(f"127.0.0.1:{server.port}") as link,
        ):
            stub: Any = stubs.DeviceCommandsStub(link)

            def who(role: Role, tenant: str = "acme") -> Any:
                return metadata(keys.issuer.issue("truck", tenant, role, 60))

            async def refused(method: Any, asked: Any, who_asks: Any) -> str:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await method(asked, metadata=who_asks)
                return problem_of(caught.value).code

            order = pb.SendCommandRequest(device_id="truck", name="reboot", parameters_json="{}", expires_in_s=60)
            sent = await stub.SendCommand(order, metadata=who(Role.DISPATCHER))
            assert sent.is_new
            assert sent.command.state == pb.COMMAND_STATE_QUEUED
            get = pb.GetCommandRequest(device_id="truck", command_id=sent.command.command_id)
            assert (await stub.GetCommand(get, metadata=who(Role.VIEWER))).command == sent.command
            listing = pb.ListCommandsRequest(device_id="truck", page_size=1)
            await stub.SendCommand(order, metadata=who(Role.ADMIN))
            page = await stub.ListCommands(listing, metadata=who(Role.VIEWER))
            listing.page_token = page.next_page_token
            last = await stub.ListCommands(listing, metadata=who(Role.VIEWER))
            assert [last.commands[0], last.next_page_token] == [sent.command, ""]
            for role in (Role.VIEWER, Role.FORWARDER, Role.DEVICE):
                assert await refused(stub.SendCommand, order, who(role)) == "role_not_allowed"
            assert await refused(stub.GetCommand, get, who(Role.DEVICE)) == "role_not_allowed"
            elsewhere = who(Role.ADMIN, "umbrella")
            assert await refused(stub.SendCommand, order, elsewhere) == "unknown_device"
            assert await refused(stub.GetCommand, get, elsewhere) == "unknown_device"
            get.device_id = "van"
            assert await refused(stub.GetCommand, get, who(Role.ADMIN)) == "unknown_command"
            get.command_id = 2**64 - 1
            assert await refused(stub.GetCommand, get, who(Role.ADMIN)) == "unknown_command"
            assert await refused(stub.SendCommand, order, who(Role.ADMIN)) == "too_many_open_commands"
            for parameters in ("[1]", "{", "7"):
                wrong = pb.SendCommandRequest(device_id="van", name="x", parameters_json=parameters)
                assert await refused(stub.SendCommand, wrong, who(Role.ADMIN)) == "bad_parameters"


@pytest.mark.server
async def test_a_command_survives_the_death_of_ingest(
    tmp_path: pathlib.Path, redis_server: RedisServer, redis_url: str, mosquitto: Mosquitto
) -> None:
    """Queued before, sent after, answered, and the answer kept."""
    ingest = Ingest(tmp_path, redis_url)
    environment = {
        "DROVER_INGEST_MQTT_URLS": f"mqtt://{mosquitto.host}:{mosquitto.port}",
        "DROVER_INGEST_MQTT_CLIENT_ID": "survivor",
        "DROVER_INGEST_MQTT_TRIAL": "false",
    }
    admin: Any = metadata(load_or_create_keys(tmp_path).issuer.issue("test", "acme", Role.ADMIN, 600))
    process = await ingest.start(**environment)
    async with channel(f"127.0.0.1:{ingest.port}") as link:
        registry: Any = registry_stubs.DeviceRegistryStub(link)
        await registry.ProvisionDevice(
            ProvisionDeviceRequest(device_id="survivor"), metadata=admin, wait_for_ready=True
        )
        stub: Any = stubs.DeviceCommandsStub(link)
        order = pb.SendCommandRequest(device_id="survivor", name="reboot", idempotency_key="once")
        command = (await stub.SendCommand(order, metadata=admin, wait_for_ready=True)).command
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    topic = "drover/v1/acme/survivor/cmd"
    async with aiomqtt.Client(mosquitto.host, mosquitto.port) as device, asyncio.timeout(4 * PATIENCE_S):
        await device.subscribe(topic, qos=1)
        process = await ingest.start(**environment)
        received = (await anext(device.messages)).payload
        assert isinstance(received, bytes)
        assert CommandMessage.FromString(received).command_id == command.command_id
        answer = CommandAnswer(command_id=command.command_id, result=COMMAND_RESULT_DONE)
        await device.publish(f"{topic}/ack", answer.SerializeToString(), qos=1)
        async with channel(f"127.0.0.1:{ingest.port}") as link:
            stub = stubs.DeviceCommandsStub(link)
            asked = pb.GetCommandRequest(device_id="survivor", command_id=command.command_id)
            state = pb.COMMAND_STATE_QUEUED
            while state != pb.COMMAND_STATE_ACKNOWLEDGED:
                await asyncio.sleep(0.05)
                state = (await stub.GetCommand(asked, metadata=admin, wait_for_ready=True)).command.state
            again = await stub.SendCommand(order, metadata=admin)
            assert (again.is_new, again.command.command_id) == (False, command.command_id)
    process.terminate()
    await process.wait()
