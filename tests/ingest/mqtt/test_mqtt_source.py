"""The source against a broker that greets in its own way, against TLS, and against real Mosquitto."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import pathlib
import random
import ssl

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ingest.mqtt.source import Broker
from runtime.problems import FatalError
from tests.ingest.mqtt.scripted_broker import PATIENCE_S, Gate, running, scripted_broker
from tests.ingest.mqtt.test_mqtt_connection import acks, message
from tests.servers.mosquitto import Mosquitto

VERSIONS = ("5", "3.1.1")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", ("broker", 1883, None, None)),
        ("mqtt://broker:1884", ("broker", 1884, None, None)),
        ("mqtt://user:p%40ss%2Fword@10.0.0.1:1", ("10.0.0.1", 1, "user", "p@ss/word")),
        ("mqtt://[::1]:1883/", ("::1", 1883, None, None)),
        ("mqtts://broker", ("broker", 8883, None, None)),
    ],
)
def test_broker_of_url(url: str, expected: tuple[object, ...]) -> None:
    broker = Broker.from_url(url)
    assert broker[:4] == expected
    assert (broker.tls is not None) == url.startswith("mqtts")


@pytest.mark.parametrize("url", ["", "broker", "http://broker", "mqtt://", "mqtt://u:secret@h:no", "mqtt://h/topic"])
def test_what_is_no_broker_is_said_without_the_password(url: str) -> None:
    with pytest.raises(FatalError, match="an MQTT URL is mqtt://") as error:
        Broker.from_url(url)
    assert "secret" not in str(error.value)


async def test_asks_for_a_session_that_lasts() -> None:
    async with scripted_broker() as broker, running(broker.port, Gate(), session_expiry_s=3600):
        peer = await broker.next_peer()
        await peer.serve()
        flags, properties = peer.connect[9], peer.connect[13 : 13 + peer.connect[12]]
        assert flags & 0x02 == 0  # no clean start
        assert b"\x11" + (3600).to_bytes(4, "big") in properties
        assert b"\x21\xff\xff" in properties
        assert b"\x22" not in properties  # no topic aliases


async def test_asks_for_a_session_that_lasts_in_3_1_1() -> None:
    async with scripted_broker() as broker, running(broker.port, Gate(), version="3.1.1"):
        peer = await broker.next_peer()
        await peer.serve()
        assert peer.connect[8] == 4
        assert peer.connect[9] & 0x02 == 0


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(b"\x20\x02\x00\x01", id="as brokers of 3.1.1 refuse"),
        pytest.param(b"\x20\x03\x00\x84\x00", id="as 5.0 says"),
        pytest.param(b"", id="by hanging up"),
    ],
)
async def test_a_broker_that_knows_only_3_1_1(refusal: bytes) -> None:
    sink = Gate()
    async with scripted_broker() as broker, running(broker.port, sink, version="auto"):
        for _ in range(3):
            peer = await broker.next_peer()
            connect = await peer.packet()
            if connect[8] == 4:
                break
            peer.send(refusal)
            await peer.hang_up()
        assert connect[8] == 4
        peer.connect = connect
        peer.send(b"\x20\x02\x00\x00")
        subscribe = await peer.packet()
        assert subscribe[0] == 0x82
        peer.send(b"\x90\x03" + subscribe[2:4] + b"\x01")
        assert await peer.answers(message(1, is_version_5=False)) == acks(1)
        # It stays with what worked.
        await peer.hang_up()
        peer = await broker.next_peer()
        assert (await peer.packet())[8] == 4


@pytest.mark.parametrize(
    ("version", "answer", "said"),
    [
        ("5", b"\x20\x03\x00\x87\x00", "Not authorized"),
        ("5", b"\x20\x03\x00\x86\x00", "Bad user name or password"),
        ("3.1.1", b"\x20\x02\x00\x05", "Not authorized"),
        ("5", b"\x20\x01\x00", "hung up"),
    ],
)
async def test_says_why_it_is_refused_and_tries_again(version: str, answer: bytes, said: str) -> None:
    async with scripted_broker() as broker, running(broker.port, Gate(), version=version) as run:
        peer = await broker.next_peer()
        await peer.packet()
        peer.send(answer)
        peer = await broker.next_peer()
        assert run.source.wrong is not None
        assert said.lower() in run.source.wrong.lower()
        await peer.serve()
        await run.subscribed()


@pytest.mark.parametrize(("version", "code"), [("5", b"\x00\x87"), ("3.1.1", b"\x80")])
async def test_a_subscription_that_is_refused_is_no_subscription(version: str, code: bytes) -> None:
    async with scripted_broker() as broker, running(broker.port, Gate(), version=version) as run:
        peer = await broker.next_peer()
        await peer.greet()
        subscribe = await peer.packet()
        peer.send(bytes([0x90, 2 + len(code)]) + subscribe[2:4] + code)
        peer = await broker.next_peer()
        assert run.source.wrong is not None
        assert "t/#" in run.source.wrong
        await peer.serve()
        await run.subscribed()


async def test_a_stop_while_the_broker_has_not_answered_connect() -> None:
    async with scripted_broker() as broker, running(broker.port, Gate()) as run:
        peer = await broker.next_peer()
        await peer.packet()
        await run.end()
        assert not run.task.cancelled()


async def test_nobody_listens() -> None:
    async with scripted_broker() as broker:
        port = broker.port
    async with running(port, Gate()) as run:
        await asyncio.sleep(0.1)
        assert run.source.wrong is not None
        assert "refused" in run.source.wrong


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A key and a certificate for localhost, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_through_tls(certificate: pathlib.Path) -> None:
    sink = Gate()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate))
    slices = random.Random(6)
    numbers = range(1, 3001)
    stream = b"".join(message(n, qos=n % 2, size=slices.choice([0, 10, 2000])) for n in numbers)
    async with scripted_broker(tls=server) as broker, running(broker.port, sink, tls=client, gather_s=0.002):
        peer = await broker.next_peer()
        await peer.serve()
        while stream:
            size = slices.choice([1, 100, 16_384, 16_385, 100_000])
            peer.send(stream[:size])
            stream = stream[size:]
            await peer.writer.drain()
        await sink.has(len(numbers))
        assert await peer.silence() == acks(*(n for n in numbers if n % 2))
    assert [topic for topic, _ in sink.taken] == [b"t/%d" % n for n in numbers]


async def send(mosquitto: Mosquitto, topic: str, payloads: list[bytes], *, qos: int = 1, version: str = "5") -> None:
    protocol = aiomqtt.ProtocolVersion.V5 if version == "5" else aiomqtt.ProtocolVersion.V311
    async with aiomqtt.Client(mosquitto.host, mosquitto.port, protocol=protocol) as client:
        client.pending_calls_threshold = 10_000
        await asyncio.gather(*(client.publish(topic, payload, qos=qos) for payload in payloads))


@pytest.mark.server
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_mosquitto(mosquitto: Mosquitto, version: str, qos: int) -> None:
    sink = Gate()
    filter_ = f"real/{version}/{qos}"
    payloads = [b"%d" % n + bytes(n % 300) for n in range(300)]
    async with running(
        mosquitto.port, sink, filters=(filter_,), version=version, client_id=filter_, gather_s=0.002
    ) as run:
        await run.subscribed()
        await send(mosquitto, filter_, payloads, qos=qos, version=version)
        await sink.has(len(payloads))
    assert sink.taken == [(filter_.encode(), payload) for payload in payloads]


@pytest.mark.server
@pytest.mark.parametrize("version", VERSIONS)
async def test_what_was_not_durable_comes_again(mosquitto: Mosquitto, version: str) -> None:
    """And what was does not; also what came while nobody was there does."""
    name = f"again/{version}"
    options = {"filters": (name,), "version": version, "client_id": name}
    first, second = Gate(), Gate()
    async with running(mosquitto.port, first, **options) as run:  # type: ignore[arg-type]
        await run.subscribed()
        await send(mosquitto, name, [b"durable"])
        await first.has(1)
        await asyncio.sleep(0.1)
        first.open.clear()
        await send(mosquitto, name, [b"%d" % n for n in range(10)])
        await first.has(11)
        run.task.cancel()  # as a death would: nothing is said
        await asyncio.wait({run.task})
    await send(mosquitto, name, [b"meanwhile"])
    async with running(mosquitto.port, second, **options):  # type: ignore[arg-type]
        await second.has(11)
        await asyncio.sleep(0.1)
    assert sorted(payload for _, payload in second.taken) == sorted([*(b"%d" % n for n in range(10)), b"meanwhile"])
    third = Gate()
    async with running(mosquitto.port, third, **options) as run:  # type: ignore[arg-type]
        await run.subscribed()
        await asyncio.sleep(0.2)
    assert third.taken == []


@pytest.mark.server
async def test_comes_back_when_the_broker_does(tmp_path: pathlib.Path) -> None:
    sink = Gate()
    own = Mosquitto(tmp_path)
    own.start()
    try:
        async with running(own.port, sink, filters=("b/#",), client_id="back") as run:
            await run.subscribed()
            await send(own, "b/1", [b"before"])
            await sink.has(1)
            own.stop()  # writes its sessions down
            async with asyncio.timeout(PATIENCE_S):
                while run.source.wrong is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            own.start()
            await run.subscribed()
            await send(own, "b/2", [b"after"])
            await sink.has(2)
    finally:
        own.stop()
    assert sink.taken == [(b"b/1", b"before"), (b"b/2", b"after")]


@pytest.mark.server
@pytest.mark.parametrize("version", VERSIONS)
async def test_mosquitto_keeps_a_paused_connection(mosquitto: Mosquitto, version: str) -> None:
    sink = Gate()
    sink.open.clear()
    name = f"paused/{version}"
    options = {"filters": (name,), "version": version, "client_id": name, "keepalive_s": 2, "high_water_messages": 1}
    async with running(mosquitto.port, sink, **options) as run:  # type: ignore[arg-type]
        await run.subscribed()
        await send(mosquitto, name, [b"%d" % n for n in range(500)])
        await asyncio.sleep(4.0)  # more than one and a half keep-alives
        assert run.source.wrong is None
        assert run.source._window.is_full
        sink.open.set()
        await sink.has(500)
    assert sink.taken == [(name.encode(), b"%d" % n) for n in range(500)]


@pytest.mark.server
async def test_mosquitto_sends_what_is_too_large(mosquitto: Mosquitto) -> None:
    sink = Gate()
    async with running(mosquitto.port, sink, filters=("large",), client_id="large", max_payload_bytes=10_000) as run:
        await run.subscribed()
        await send(mosquitto, "large", [b"1", b"x" * 5_000_000, b"2"])
        await sink.has(3)
        await asyncio.sleep(0.1)
        assert run.source.wrong is None
    assert [len(payload) for _, payload in sink.taken] == [1, 10_001, 1]
