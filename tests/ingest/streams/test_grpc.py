"""gRPC, with a real server and a real client: streams, the register, the dead letters, and who may do what."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
import pytest

from drover.api.ingest.v1 import ingest_service_pb2 as messages
from drover.api.ingest.v1 import ingest_service_pb2_grpc as stubs
from drover.telemetry.v1.reading_pb2 import ReadingBatch
from ingest.dead_letters.api import DeadLettersService
from ingest.devices.credentials import Credentials
from ingest.devices.registry_api import DeviceRegistryService
from ingest.streams.intake import GrpcIntake
from ingest.streams.source import PATH, WINDOW, GrpcSource
from runtime.grpc_client import channel, metadata, problem_of
from runtime.grpc_server import Doorkeeper
from runtime.grpc_streams.server import GrpcStreamServer
from runtime.tokens import KeyPair, Role, load_or_create_keys
from tests.ingest.readings import batch, position, sensor
from tests.ingest.rig import FakeLog, Rig, running
from tracking_core.columns import count


class Server(NamedTuple):
    """A running server, and a channel to it."""

    rig: Rig
    log: FakeLog
    source: GrpcSource
    keys: KeyPair
    link: grpc.aio.Channel

    def metadata(self, role: Role = Role.FORWARDER, subject: str = "someone", tenant: str = "acme") -> Any:
        """What a caller sends along; a service chooses its tenant there."""
        if role is Role.SERVICE:
            return metadata(self.keys.issuer.issue(subject, "", role, 60), tenant)
        return metadata(self.keys.issuer.issue(subject, tenant, role, 60))

    def stream(self, requests: Iterable[bytes] | AsyncIterator[bytes], **who: Any) -> Any:
        """A stream of raw requests; answers are StreamResponse."""
        call = self.link.stream_stream(
            "/drover.api.ingest.v1.TelemetryIngest/Stream",
            response_deserializer=messages.StreamResponse.FromString,
        )
        return call(requests, metadata=self.metadata(**who))

    async def answers(self, requests: Iterable[bytes], **who: Any) -> list[messages.StreamResponse]:
        """All answers to a stream that is ended by the client."""
        return [answer async for answer in self.stream(requests, **who)]


@asynccontextmanager
async def _serving(folder: pathlib.Path, *, high_water_bytes: int = 2**20) -> AsyncIterator[Server]:
    log = FakeLog()
    keys = load_or_create_keys(folder)
    async with running(folder, log) as rig, asyncio.TaskGroup() as tasks:
        credentials = Credentials(rig.engine, keys.issuer)
        await credentials.refresh()
        source = GrpcSource(GrpcIntake(rig.pipeline, tasks, high_water_bytes=high_water_bytes), credentials.check)
        letters = DeadLettersService(rig.dead_letters, rig.pipeline, unrouted_tenant="acme")
        services = [DeviceRegistryService(rig.registry, credentials).add, letters.add]
        doorkeeper = Doorkeeper(keys.verifier, check=credentials.check)
        async with GrpcStreamServer("127.0.0.1:0", doorkeeper, {PATH: source.open}, services) as running_server:
            async with channel(f"127.0.0.1:{running_server.port}") as link:
                yield Server(rig, log, source, keys, link)
            log.gate.set()


@pytest.fixture
async def server(tmp_path: pathlib.Path) -> AsyncIterator[Server]:
    async with _serving(tmp_path) as running_server:
        await running_server.rig.provision("truck", "van")
        yield running_server


def request(number: int, devices: Sequence[tuple[str, ReadingBatch]]) -> bytes:
    return messages.StreamRequest(
        batch_number=number,
        devices=[messages.DeviceReadings(device_id=name, readings=readings) for name, readings in devices],
    ).SerializeToString()


def fixes(size: int = 1, first: int = 0) -> ReadingBatch:
    return batch(*(position(sequence=first + n) for n in range(size)))


def acked(answers: Sequence[messages.StreamResponse]) -> int:
    numbers = [answer.acked_through for answer in answers]
    assert numbers == sorted(set(numbers)), "receipts are cumulative"
    return numbers[-1] if numbers else 0


async def test_batches_are_acknowledged_once_they_are_in_the_log(server: Server) -> None:
    answers = await server.answers(
        request(n, [("truck", fixes(3, 6 * n)), ("van", fixes(3, 6 * n + 3))]) for n in range(1, 101)
    )
    assert acked(answers) == 100
    assert not any(answer.rejections for answer in answers)
    readings = server.log.readings
    assert readings.positions.sequence[readings.positions.device == 0].tolist() == [
        6 * n + k for n in range(1, 101) for k in range(3)
    ]
    assert count(readings) == 600


async def test_no_receipt_before_the_log_has_it(server: Server) -> None:
    server.log.gate.clear()
    stream = server.stream([request(1, [("truck", fixes())])])
    answer = asyncio.ensure_future(anext(aiter(stream)))
    await asyncio.sleep(0.2)
    assert not answer.done()
    server.log.gate.set()
    assert (await answer).acked_through == 1


async def test_what_cannot_be_taken_is_told_and_kept_and_the_rest_is_taken(server: Server) -> None:
    bad_device = [
        ("truck", fixes(2)),
        ("stranger", fixes(3)),
        ("tr uck", fixes(4)),
        ("van", batch(position(), position(1), sensor(1))),
    ]
    (answer,) = await server.answers([request(1, bad_device)])
    assert answer.acked_through == 1
    told = {(each.batch_number, each.device_id, each.reason, each.count) for each in answer.rejections}
    assert told == {
        (1, "stranger", "unknown_device", 3),
        (1, "tr uck", "bad_device_id", 4),
        (1, "van", "clock_unset", 2),
    }
    assert count(server.log.readings) == 3
    letters = {letter.topic: letter for letter in await server.rig.letters()}
    assert set(letters) == {f"drover/v1/acme/{name}/batch" for name in ("stranger", "tr uck", "van")}
    assert ReadingBatch.FromString(letters["drover/v1/acme/van/batch"].payload) == batch(position(1), sensor(1))
    assert all(letter.source == "grpc" for letter in letters.values())
    await server.rig.provision("stranger")
    assert (await server.rig.pipeline.replay(letters["drover/v1/acme/stranger/batch"])).accepted == 3


async def test_readings_that_are_no_readings(server: Server) -> None:
    device = b"\x0a\x05truck\x12\x03\xff\xff\xff"
    raw = b"\x08\x01\x12" + bytes([len(device)]) + device
    (answer,) = await server.answers([raw])
    assert [(each.reason, each.count) for each in answer.rejections] == [("truncated", 1)]


async def test_a_device_sends_for_itself_only(server: Server) -> None:
    both = request(1, [("truck", fixes()), ("van", fixes())])
    (answer,) = await server.answers([both], role=Role.DEVICE, subject="truck")
    assert [(each.device_id, each.reason) for each in answer.rejections] == [("van", "forbidden")]
    assert server.log.readings.positions.device.tolist() == [0]
    assert await server.rig.letters() == []


async def test_a_tenant_sends_for_itself_only(server: Server) -> None:
    (answer,) = await server.answers([request(1, [("truck", fixes())])], tenant="other")
    assert [each.reason for each in answer.rejections] == ["unknown_device"]
    assert [letter.tenant for letter in await server.rig.letters("other", "acme")] == ["other"]


async def test_services_act_for_a_tenant(server: Server) -> None:
    (answer,) = await server.answers([request(1, [("truck", fixes())])], role=Role.SERVICE)
    assert not answer.rejections


@pytest.mark.parametrize(
    ("raw", "who", "code"),
    [
        ([b"\xff\xff"], {}, "malformed_request"),
        ([request(2, [])], {}, "batch_out_of_order"),
        ([request(1, []), request(1, [])], {}, "batch_out_of_order"),
        ([request(1, [])], {"role": Role.VIEWER}, "role_not_allowed"),
        ([request(1, [])], {"role": Role.SERVICE, "tenant": ""}, "tenant_missing"),
    ],
)
async def test_what_ends_a_stream(server: Server, raw: list[bytes], who: dict[str, Any], code: str) -> None:
    async def and_stays_open() -> AsyncIterator[bytes]:
        # Ending the stream of requests while the server ends the call can be told as INTERNAL by the client's library.
        for each in raw:
            yield each
        await asyncio.Event().wait()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in server.stream(and_stays_open(), **who):
            pass
    assert problem_of(caught.value).code == code


async def test_a_malformed_request_harms_no_other_stream(server: Server) -> None:
    good = server.answers([request(n, [("truck", fixes())]) for n in range(1, 20)])
    bad = server.answers([request(1, [("van", fixes())]), b"\xff"])
    answers, error = await asyncio.gather(good, bad, return_exceptions=True)
    assert isinstance(answers, list)
    assert acked(answers) == 19
    assert isinstance(error, grpc.aio.AioRpcError)


async def test_without_a_token_nothing_is_read(server: Server) -> None:
    call = server.link.stream_stream("/drover.api.ingest.v1.TelemetryIngest/Stream")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(call(iter([request(1, [])]))))
    assert problem_of(caught.value).code == "token_missing"


async def _endless(sent: list[int], size: int) -> AsyncIterator[bytes]:
    for number in range(1, 100_000):
        sent.append(number)
        yield request(number, [("truck", fixes(size))])


@pytest.mark.parametrize("high_water_bytes", [2**30, 50_000])
async def test_reading_stops_while_the_log_is_behind(tmp_path: pathlib.Path, high_water_bytes: int) -> None:
    async with _serving(tmp_path, high_water_bytes=high_water_bytes) as server:
        await server.rig.provision("truck")
        server.log.gate.clear()
        sent: list[int] = []
        stream = server.stream(_endless(sent, 200))
        held = -1
        async with asyncio.timeout(20):
            while held <= 0 or held != server.rig.batcher.queued:  # the first batches wait for kernels to load
                held = server.rig.batcher.queued
                await asyncio.sleep(0.6)
        assert 0 < held <= WINDOW * 200
        if high_water_bytes == 50_000:
            assert held <= 50_000 / 30 + 200
        await asyncio.sleep(0.4)
        assert server.rig.batcher.queued == held
        # HTTP/2 holds a few more in its windows, and then the sender.
        assert len(sent) < 2_000
        server.log.gate.set()
        assert (await anext(aiter(stream))).acked_through >= 1
        stream.cancel()


async def _extend(into: list[Any], items: AsyncIterator[Any]) -> None:
    async for item in items:
        into.append(item)  # noqa: PERF401 - what came before the error counts


async def test_stopping_acknowledges_what_was_read_and_says_that_it_stops(server: Server) -> None:
    sent: list[int] = []
    got: list[messages.StreamResponse] = []

    answering = aiter(server.stream(_endless(sent, 10)))
    got.append(await anext(answering))
    server.source.close()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(_extend(got, answering), 5)
    # A sender that is just writing when the stream ends is told INTERNAL by its own gRPC library.
    assert problem_of(caught.value).code in {"stopping", "service_failed"}
    assert count(server.log.readings) == 10 * acked(got)


async def test_a_client_that_goes_away_leaves_nothing_behind(server: Server) -> None:
    sent: list[int] = []
    stream = server.stream(_endless(sent, 10))
    await anext(aiter(stream))
    stream.cancel()
    await asyncio.sleep(0.2)
    assert server.source._open == set()
    assert acked(await server.answers([request(1, [("van", fixes())])])) == 1


async def test_the_register(server: Server) -> None:
    stub: Any = stubs.DeviceRegistryStub(server.link)
    admin, viewer = server.metadata(Role.ADMIN), server.metadata(Role.VIEWER)
    given = await stub.ProvisionDevice(
        messages.ProvisionDeviceRequest(device_id="crane", display_name="Crane 1"), metadata=admin
    )
    assert (given.device.device_number, given.device.tenant) == (2, "acme")
    found = await stub.GetDevice(messages.GetDeviceRequest(device_id="crane"), metadata=viewer)
    assert found.device == given.device
    pages, token = [], ""
    while True:
        page = await stub.ListDevices(messages.ListDevicesRequest(page_size=2, page_token=token), metadata=viewer)
        pages.append([device.device_id for device in page.devices])
        token = page.next_page_token
        if not token:
            break
    assert pages == [["crane", "truck"], ["van"]]
    elsewhere, a_device = server.metadata(Role.VIEWER, tenant="other"), server.metadata(Role.DEVICE, "truck")
    for method, asked, who, code in [
        (stub.ProvisionDevice, messages.ProvisionDeviceRequest(device_id="x"), viewer, "role_not_allowed"),
        (stub.ProvisionDevice, messages.ProvisionDeviceRequest(device_id="a b"), admin, "bad_device_id"),
        (stub.GetDevice, messages.GetDeviceRequest(device_id="truck"), elsewhere, "unknown_device"),
        (stub.GetDevice, messages.GetDeviceRequest(device_id="truck"), a_device, "role_not_allowed"),
        (stub.ListDevices, messages.ListDevicesRequest(), a_device, "role_not_allowed"),
    ]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(asked, metadata=who)
        assert problem_of(caught.value).code == code


async def test_the_dead_letters(server: Server) -> None:
    await server.rig.send(
        ("drover/v1/acme/stranger/position", position().SerializeToString()),
        ("drover/v1/acme/truck/position", b"garbage"),
        ("drover/v1/other/truck/position", b"garbage"),
        ("elsewhere", b"x"),
        ("drover/v1/acme/truck/batch", b"x" * 2_000_000),
    )
    stub: Any = stubs.DeadLettersStub(server.link)
    admin, other = server.metadata(Role.ADMIN), server.metadata(Role.ADMIN, tenant="other")
    page = await stub.ListDeadLetters(messages.ListDeadLettersRequest(page_size=3), metadata=admin)
    rest = await stub.ListDeadLetters(
        messages.ListDeadLettersRequest(page_size=3, page_token=page.next_page_token), metadata=admin
    )
    assert rest.next_page_token == ""
    letters = {letter.reason: letter for letter in (*page.dead_letters, *rest.dead_letters)}
    assert set(letters) == {"unknown_device", "malformed", "unknown_topic", "too_large"}
    theirs = await stub.ListDeadLetters(messages.ListDeadLettersRequest(reason="unknown_device"), metadata=other)
    assert [letter.topic for letter in theirs.dead_letters] == ["drover/v1/other/truck/position"]

    unknown = messages.ReplayDeadLetterRequest(dead_letter_id=letters["unknown_device"].dead_letter_id)
    answer = await stub.ReplayDeadLetter(unknown, metadata=admin)
    assert (answer.accepted, answer.reason) == (0, "unknown_device")
    await server.rig.provision("stranger")
    answer = await stub.ReplayDeadLetter(unknown, metadata=admin)
    assert (answer.accepted, answer.reason) == (1, "")
    shown = await stub.GetDeadLetter(
        messages.GetDeadLetterRequest(dead_letter_id=unknown.dead_letter_id), metadata=admin
    )
    assert shown.dead_letter.HasField("replayed_at_us")

    cut = messages.ReplayDeadLetterRequest(dead_letter_id=letters["too_large"].dead_letter_id)
    for method, asked, who, code in [
        (stub.ReplayDeadLetter, cut, admin, "dead_letter_cut"),
        (stub.ReplayDeadLetter, unknown, other, "unknown_dead_letter"),
        (stub.ReplayDeadLetter, unknown, server.metadata(Role.VIEWER), "role_not_allowed"),
        (stub.ListDeadLetters, messages.ListDeadLettersRequest(page_token="x"), admin, "bad_page_token"),
        (stub.GetDeadLetter, messages.GetDeadLetterRequest(dead_letter_id=2**64 - 1), admin, "unknown_dead_letter"),
    ]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(asked, metadata=who)
        assert problem_of(caught.value).code == code
