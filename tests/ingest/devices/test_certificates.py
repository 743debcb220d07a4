"""Devices that sign in with a certificate: at Mosquitto, and at ingest by gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any

import aiomqtt
import grpc
import pytest

from drover.api.ingest.v1.ingest_service_pb2 import StreamResponse
from ingest import tls
from ingest.devices.credentials import Credentials
from ingest.devices.device_name import DeviceName, of_user_name, user_name
from ingest.streams.intake import GrpcIntake
from ingest.streams.source import PATH, GrpcSource
from runtime.grpc_client import channel, metadata, problem_of
from runtime.grpc_server import Doorkeeper
from runtime.grpc_streams.server import GrpcStreamServer
from runtime.problems import FatalError
from runtime.tokens import KeyPair, Role, load_or_create_keys
from stack.ports import any_free
from tests.ingest.devices.secured import PATIENCE_S, is_let_in, let_in, secured
from tests.ingest.rig import FakeLog, Rig, running
from tests.ingest.streams.test_grpc import fixes, request
from tests.servers.certificates import Authority, Pair

TRUCK = DeviceName("acme", "truck-1")


@pytest.mark.parametrize("name", [TRUCK, DeviceName("a:b", "00:11:22"), DeviceName("t", "d")])
def test_user_names_there_and_back(name: DeviceName) -> None:
    assert ":" not in user_name(name)
    assert of_user_name(user_name(name)) == name


@pytest.mark.parametrize("text", ["", "truck", "/truck", "acme/", "acme/truck/x", "acme/+", "a:b/c", "a%2Fb/c", "#"])
def test_what_is_no_user_name(text: str) -> None:
    assert of_user_name(text) is None


def trusting(authority: Authority, shown: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if shown is not None:
        context.load_cert_chain(*shown)
    return context


@pytest.mark.server
async def test_mosquitto_knows_a_device_by_its_certificate(tmp_path: pathlib.Path) -> None:
    """As in deploy/mosquitto-secure.conf: no passwords on that listener, the same list of who may do what."""
    authority, strangers = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    broker = authority.issue("broker", "broker")
    port = any_free()
    extra = (
        f"listener {port} 127.0.0.1\ncafile {authority.certificate}\ncertfile {broker.certificate}\n"
        f"keyfile {broker.key}\nrequire_certificate true\nuse_identity_as_username true\n"
    )
    async with secured(tmp_path, extra=extra) as at:
        device = await at.device(*TRUCK)
        at.reload()
        await let_in(at.of(TRUCK))

        def client(shown: Pair | None, **options: Any) -> aiomqtt.Client:
            context = trusting(authority, shown)
            return aiomqtt.Client("127.0.0.1", port, tls_context=context, timeout=PATIENCE_S, **options)

        truck = authority.issue(user_name(TRUCK), "truck")
        never_provisioned = authority.issue("acme/ghost", "ghost")
        async with at.ingest() as watcher:
            await watcher.subscribe("drover/v1/#", qos=1)

            async def heard() -> list[str]:
                await watcher.publish("drover/v1/acme/nobody/cmd", qos=1)
                topics = []
                async with asyncio.timeout(PATIENCE_S):
                    async for message in watcher.messages:
                        if message.topic.value == "drover/v1/acme/nobody/cmd":
                            return topics
                        topics.append(message.topic.value)
                raise AssertionError

            async def say(shown: Pair, topic: str, **options: Any) -> None:
                with contextlib.suppress(aiomqtt.MqttError):  # some Mosquittos hang up on what is denied
                    async with client(shown, **options) as speaker:
                        await speaker.publish(topic, qos=1)

            own, other = "drover/v1/acme/truck-1/position", "drover/v1/acme/truck-2/position"
            await say(truck, own)
            assert await heard() == [own]
            await say(truck, other)
            await say(truck, other, username="acme/truck-2", password="x")  # whom it claims to be counts for nothing
            await say(never_provisioned, "drover/v1/acme/ghost/position")
            assert await heard() == []
            await at.credentials.revoke(device)
            at.reload()
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await say(truck, own)
                    if await heard() == []:
                        break
        # A client finds out only by what it reads: TLS 1.3 lets it finish its part of the handshake first.
        assert await answer_to_connect(port, trusting(authority, truck)) == b"\x20"
        for shown in (None, strangers.issue(user_name(TRUCK), "forged")):
            assert await answer_to_connect(port, trusting(authority, shown)) == b""


async def answer_to_connect(port: int, context: ssl.SSLContext) -> bytes:
    """The first byte that a broker sends; empty when it hangs up."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01x")
            answer = await reader.read(1)
            writer.close()
            return answer
    except (ssl.SSLError, ConnectionError):
        return b""


@pytest.mark.server
async def test_the_shipped_configuration(tmp_path: pathlib.Path) -> None:
    """deploy/mosquitto-secure.conf, with nothing changed but ports and paths."""
    shipped = (pathlib.Path(__file__).parents[3] / "deploy" / "mosquitto-secure.conf").read_text()
    authority = Authority(tmp_path / "certs")
    authority.certificate.with_name("devices-ca.crt").write_bytes(authority.certificate.read_bytes())
    authority.issue("broker", "broker")
    ports = {number: str(any_free()) for number in ("1883", "8883", "8884")}
    for old, new in {
        "/var/lib/drover/mosquitto": str(tmp_path / "files"),
        "/etc/mosquitto/certs": str(tmp_path / "certs"),
        "/var/lib/mosquitto/": f"{tmp_path}/",
        **{f"listener {number}": f"listener {port}" for number, port in ports.items()},
    }.items():
        assert old in shipped
        shipped = shipped.replace(old, new)
    truck = authority.issue(user_name(TRUCK), "truck")
    async with secured(tmp_path, config=shipped) as at:
        await at.device(*TRUCK)
        at.reload()
        await let_in(at.of(TRUCK))
        assert not await is_let_in(at.client(None, None))
        for port, shown, password in (("8883", None, at.issued[TRUCK].password), ("8884", truck, None)):
            client = aiomqtt.Client(
                "127.0.0.1",
                int(ports[port]),
                username=user_name(TRUCK),
                password=password,
                tls_context=trusting(authority, shown),
                timeout=PATIENCE_S,
            )
            async with at.ingest() as watcher, client, asyncio.timeout(PATIENCE_S):
                await watcher.subscribe("drover/v1/#", qos=1)
                await client.publish("drover/v1/acme/truck-1/position", port.encode(), qos=1)
                assert (await anext(watcher.messages)).payload == port.encode()


class Secure:
    """Ingest's second gRPC server, and channels to it."""

    def __init__(self, rig: Rig, log: FakeLog, credentials: Credentials, keys: KeyPair, port: int) -> None:
        self.rig = rig
        self.log = log
        self.credentials = credentials
        self.keys = keys
        self.port = port

    async def send(
        self, authority: Authority, shown: Pair | None, device_id: str, token: str | None = None
    ) -> tuple[int, list[str]]:
        """Acked through, and the reasons of rejections. Raises Problem."""
        credentials = grpc.ssl_channel_credentials(
            authority.certificate.read_bytes(),
            None if shown is None else shown.key.read_bytes(),
            None if shown is None else shown.certificate.read_bytes(),
        )
        async with channel(f"127.0.0.1:{self.port}", credentials=credentials) as link:
            call: Any = link.stream_stream(
                "/drover.api.ingest.v1.TelemetryIngest/Stream", response_deserializer=StreamResponse.FromString
            )
            requests: Iterable[bytes] = [request(1, [(device_id, fixes())])]
            pairs = None if token is None else metadata(token)
            try:
                answers = [answer async for answer in call(requests, metadata=pairs, timeout=PATIENCE_S)]
            except grpc.aio.AioRpcError as error:
                raise problem_of(error) from error
        return answers[-1].acked_through, [each.reason for answer in answers for each in answer.rejections]


@contextlib.asynccontextmanager
async def _secure(folder: pathlib.Path, server: Pair, client_ca: pathlib.Path | None) -> AsyncIterator[Secure]:
    log, keys = FakeLog(), load_or_create_keys(folder)
    async with running(folder, log) as rig, asyncio.TaskGroup() as tasks:
        await rig.provision("truck-1", "truck-2")
        await rig.provision("truck-1", tenant="umbrella")
        credentials = Credentials(rig.engine, keys.issuer)
        await credentials.refresh()
        source = GrpcSource(GrpcIntake(rig.pipeline, tasks, high_water_bytes=2**20), credentials.check)
        async with GrpcStreamServer(
            "127.0.0.1:0",
            Doorkeeper(keys.verifier, credentials.of_certificate, credentials.check),
            {PATH: source.open},
            tls=tls.of_devices(*server, client_ca),
            grace_s=0.1,
        ) as running_server:
            yield Secure(rig, log, credentials, keys, running_server.port)


async def test_grpc_knows_a_device_by_its_certificate(tmp_path: pathlib.Path) -> None:
    authority, strangers = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    truck = authority.issue(user_name(TRUCK), "truck")
    async with _secure(tmp_path, authority.issue("ingest", "ingest"), authority.certificate) as at:
        assert await at.send(authority, truck, "truck-1") == (1, [])
        assert await at.send(authority, truck, "truck-2") == (1, ["forbidden"])
        assert at.log.readings.positions.device.tolist() == [0]
        umbrella = authority.issue("umbrella/truck-1", "umbrella")
        assert await at.send(authority, umbrella, "truck-1") == (1, [])
        assert at.log.readings.positions.device.tolist() == [0, 2]
        with pytest.raises(Exception, match="common name is not tenant/device"):
            await at.send(authority, authority.issue("truck-1", "nameless"), "truck-1")
        # A token says who calls, if there is one, and a bad one is not made good by a certificate.
        with pytest.raises(Exception, match="not valid here"):
            await at.send(authority, truck, "truck-1", token="nonsense")
        for shown in (None, strangers.issue(user_name(TRUCK), "forged")):
            with pytest.raises(Exception, match="does not answer"):
                await at.send(authority, shown, "truck-1")
        with pytest.raises(Exception, match="does not answer"):
            await at.send(strangers, truck, "truck-1")  # a server that the device does not trust
        await at.credentials.revoke(await at.rig.registry.get(TRUCK))
        with pytest.raises(Exception, match="revoked"):
            await at.send(authority, truck, "truck-1")
        assert at.log.readings.positions.device.tolist() == [0, 2]


async def test_grpc_with_tls_and_tokens(tmp_path: pathlib.Path) -> None:
    authority = Authority(tmp_path / "ca")
    async with _secure(tmp_path, authority.issue("ingest", "ingest"), None) as at:
        token = at.keys.issuer.issue("truck-1", "acme", Role.DEVICE, 60)
        assert await at.send(authority, None, "truck-1", token=token) == (1, [])
        # Nobody asked for the certificate, so it says nothing.
        with pytest.raises(Exception, match="no bearer token"):
            await at.send(authority, authority.issue(user_name(TRUCK), "truck"), "truck-1")


async def test_files_that_cannot_be_used_are_one_line(tmp_path: pathlib.Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("acme/truck", "truck")
    assert tls.common_name(pair.certificate) == "acme/truck"
    assert tls.of_brokers(None, None, None) is None
    assert tls.of_brokers(authority.certificate, *pair) is not None
    missing = tmp_path / "missing"
    with pytest.raises(FatalError, match=r"cannot use the certificates .*missing"):
        tls.of_brokers(missing, None, None)
    with pytest.raises(FatalError, match=r"cannot use the certificates .*missing"):
        tls.of_devices(missing, pair.key, None)
    with pytest.raises(FatalError, match="grpc_tls_key"):
        tls.of_devices(pair.certificate, None, None)
    with pytest.raises(FatalError, match="is no certificate"):
        tls.common_name(pair.key)
