"""Subscribes at one MQTT broker, for as long as the process lives, and loses nothing of what the broker promised.

One fixed client id and a session that outlives connections: what comes while ingest is away waits at the broker. A
client of aiomqtt is used for one connection and then left, so that nothing of it can reach the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import urllib.parse
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Literal, NamedTuple, Self

import aiomqtt
import structlog
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.mqtt.connection import Connection
from ingest.mqtt.deliveries import Sink
from ingest.mqtt.hooks import check_internals
from ingest.mqtt.outbox import Outbox
from ingest.mqtt.publisher import Publisher
from ingest.mqtt.window import Window
from runtime.metrics import Counter, Gauge
from runtime.problems import FatalError
from runtime.process import Stop

log = structlog.get_logger()

_CONNECTED: Final = Gauge("drover_ingest_mqtt_connected", "Brokers that ingest is subscribed at.")
_CONNECTS: Final = Counter("drover_ingest_mqtt_connects", "Attempts to connect, by how they ended.", ["outcome"])

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 15.0
_KEEP_ALIVE_S: Final = 1.0
_RECEIVE_MAXIMUM: Final = 65_535
_LONGEST_EXPIRY_S: Final = 2**32 - 2  # one more says: never
_FAILURE_CODE: Final = 128
_UNSUPPORTED_VERSION: Final = frozenset({1, 132})  # of MQTT 3.1.1 and 5.0
_HANG_UPS_TO_DOUBT: Final = 2
_NO_ANSWER: Final = "Operation timed out"  # aiomqtt's words where the socket opened and no CONNACK came
_MOMENT_S: Final = 0.1
_GOODBYE_S: Final = 1.0
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}

Version = Literal["auto", "5", "3.1.1"]


class Broker(NamedTuple):
    """Where a broker is, and who we are to it."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None

    @classmethod
    def from_url(cls, url: str, *, tls: ssl.SSLContext | None = None) -> Self:
        """Of `mqtt://[user:password@]host[:port]`, or `mqtts://` for TLS, with `tls` or the system's certificates.

        Raises FatalError, without the password.
        """
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urllib.parse.urlsplit(""), None
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise FatalError("an MQTT URL is mqtt://[user:password@]host[:port], or mqtts:// for TLS")
        username = urllib.parse.unquote(parts.username) if parts.username else None
        password = urllib.parse.unquote(parts.password) if parts.password else None
        context = None if parts.scheme == "mqtt" else tls or ssl.create_default_context()
        return cls(parts.hostname, port or _PORTS[parts.scheme], username, password, context)


class MqttOptions(NamedTuple):
    """How a source behaves. `client_id` must be another for each source at one broker."""

    client_id: str = "drover-ingest"
    version: Version = "auto"
    session_expiry_s: int = 7 * 86_400
    keepalive_s: int = 60
    connect_timeout_s: float = 10.0
    high_water_messages: int = 100_000
    high_water_bytes: int = 64 * 1024 * 1024
    max_payload_bytes: int = 1024 * 1024
    gather_s: float = 0.004
    """How long the socket is left alone after a read, so that more comes together. Adds as much to the latency."""
    drain_s: float = 10.0
    max_outbox: int = 10_000
    """Messages to devices that may wait for the broker."""


class SubscriptionRefusedError(Exception):
    """The broker did not grant a filter."""

    def __init__(self, filter_: str, reason: str) -> None:
        super().__init__(f"the broker refused the subscription to {filter_}: {reason}")


class HungUpError(Exception):
    """The broker closed the connection instead of answering CONNECT."""


class MqttSource:
    """Brings the messages of `filters` to `sink` until stopped."""

    def __init__(self, broker: Broker, filters: Sequence[str], sink: Sink, options: MqttOptions) -> None:
        self._broker: Final = broker
        self._filters: Final = tuple(filters)
        self._sink: Final = sink
        self._options: Final = options
        self._window: Final = Window(options.high_water_messages, options.high_water_bytes)
        self.outbox: Final = Outbox(options.max_outbox)
        """What goes to devices by this broker."""
        self._version: Literal["5", "3.1.1"] = "3.1.1" if options.version == "3.1.1" else "5"
        self._is_version_settled = options.version != "auto"
        self._hang_ups = 0
        self.wrong: str | None = "not connected yet"
        """Why it is not subscribed now, in one line; for readiness."""

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, expiry_s: int | None = None) -> bool:
        """Sends a message on the present connection, behind what is in the outbox, and waits until the broker has it.

        Returns and raises what `Outbox.send` does: NotConnectedError, OutboxFullError, PublishRefusedError. While
        reading pauses for too much in flight, the broker's answer waits too.
        """
        return await self.outbox.send(topic, payload, qos=qos, expiry_s=expiry_s)

    async def run(self, stop: Stop) -> None:
        """Connects again and again until `stop`; then waits, `drain_s` at most, for what was read to become durable.

        Raises FatalError when the library underneath cannot be used, and whatever the sink raises, but Unavailable.
        """
        check_internals()
        pause_s = _FIRST_PAUSE_S
        while not stop.is_set():
            subscribed = asyncio.Event()
            try:
                await self._serve(stop, subscribed)
            except (aiomqtt.MqttError, HungUpError, SubscriptionRefusedError) as error:
                if subscribed.is_set():
                    pause_s = _FIRST_PAUSE_S
                self.wrong = f"broker {self._broker.host}:{self._broker.port}: {_in_words(error)}"
                log.warning("not connected to the broker", reason=self.wrong, again_in_s=round(pause_s, 1))
                self._think_of_version(error)
                await stop.wait_for(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, hides nothing
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _serve(self, stop: Stop, subscribed: asyncio.Event) -> None:
        """One connection, from CONNECT to its end. Returns when stopped, otherwise raises why it ended."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        closed = asyncio.Event()

        def end(error: BaseException) -> None:
            if not ended.done():
                ended.set_exception(error)

        def hang_up() -> None:
            closed.set()
            self.outbox.shut()

        client = self._client()
        publisher = Publisher(client, is_version_5=self._version == "5")
        connection = Connection(
            client,
            self._sink,
            self._window,
            self.outbox,
            is_version_5=self._version == "5",
            max_payload_bytes=self._options.max_payload_bytes,
            gather_s=self._options.gather_s,
            on_closed=hang_up,
            on_failure=end,
        )
        self._window.on_room = connection.resume
        stopping = loop.create_task(stop.wait())
        watching: list[asyncio.Task[None]] = []
        try:
            if await _unless([ended, stopping], _connect(client, closed)):
                return
            self._is_version_settled, self._hang_ups = True, 0
            watching = [loop.create_task(_watch(client, end)), loop.create_task(_keep_alive(connection))]
            if await _unless([ended, stopping], self._subscribe(client)):
                return
            subscribed.set()
            self.wrong = None
            self.outbox.open(publisher)
            _CONNECTED.inc()
            log.info("subscribed", broker=f"{self._broker.host}:{self._broker.port}", mqtt=self._version)
            try:
                await asyncio.wait([ended, stopping], return_when=asyncio.FIRST_COMPLETED)
                left_s = loop.time() + self._options.drain_s
                if not ended.done():
                    await connection.drain(self._options.drain_s)
                if not ended.done():
                    connection.leave()
                    # A broker under load takes its time to read what we acknowledged.
                    await asyncio.wait([ended], timeout=max(_GOODBYE_S, left_s - loop.time()))
                    return
            finally:
                _CONNECTED.dec()
                self.wrong = "not connected"
            ended.result()
        finally:
            stopping.cancel()
            self.outbox.shut()
            publisher.close()
            connection.abandon()
            if watching:  # it was connected: hear why that ended
                await asyncio.wait(watching, timeout=_MOMENT_S, return_when=asyncio.FIRST_COMPLETED)
                for task in watching:
                    task.cancel()
                with contextlib.suppress(aiomqtt.MqttError):
                    await client.__aexit__(None, None, None)
            if ended.done():
                ended.exception()  # seen, also where something else is raised

    def _client(self) -> aiomqtt.Client:
        broker, options = self._broker, self._options
        is_version_5 = self._version == "5"
        properties = None
        if is_version_5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = min(options.session_expiry_s, _LONGEST_EXPIRY_S)
            properties.ReceiveMaximum = _RECEIVE_MAXIMUM
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            identifier=options.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if is_version_5 else aiomqtt.ProtocolVersion.V311,
            clean_session=None if is_version_5 else False,
            clean_start=False if is_version_5 else MQTT_CLEAN_START_FIRST_ONLY,  # which 3.1.1 takes for not said
            properties=properties,
            keepalive=options.keepalive_s,
            timeout=options.connect_timeout_s,
            tls_context=broker.tls,
            max_inflight_messages=0,  # no second window behind the publisher's
        )

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        """At QoS 1: paho acknowledges QoS 2 too early, and duplicates are found by what they say."""
        for filter_ in self._filters:
            granted = (await client.subscribe(filter_, qos=1))[0]
            code = granted.value if isinstance(granted, ReasonCode) else granted
            if code >= _FAILURE_CODE:
                raise SubscriptionRefusedError(filter_, str(granted))
            if code == 0:
                log.warning("the broker grants only QoS 0: what comes while ingest is away is lost", filter=filter_)

    def _think_of_version(self, error: Exception) -> None:
        """With `auto`, until a connection has succeeded: tries the other version where this one is not understood."""
        if self._is_version_settled:
            return
        # Some brokers of 3.1.1 hang up on a CONNECT of 5, some answer what paho cannot read and wait.
        self._hang_ups += isinstance(error, HungUpError) or str(error) == _NO_ANSWER
        refused = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
        code = refused.value if isinstance(refused, ReasonCode) else refused
        if code in _UNSUPPORTED_VERSION or self._hang_ups == _HANG_UPS_TO_DOUBT:
            self._hang_ups = 0
            self._version = "3.1.1" if self._version == "5" else "5"


async def _unless(events: Sequence[asyncio.Future[Any]], work: Coroutine[Any, Any, None]) -> bool:
    """Does `work`, unless one of `events` comes before it is done; whether one did, or raises what that raises."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task, *events], return_when=asyncio.FIRST_COMPLETED)
        for event in events:
            if event.done():
                event.result()
                return True
        task.result()
        return False
    finally:
        await _cancel(task)


async def _cancel(task: asyncio.Future[Any]) -> None:
    """Cancels, waits for the end, and forgets how it ended."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


async def _connect(client: aiomqtt.Client, closed: asyncio.Event) -> None:
    """As entering the client, but without waiting for an answer on a connection that is closed already."""
    entering = asyncio.ensure_future(client.__aenter__())
    closing = asyncio.ensure_future(closed.wait())
    try:
        await asyncio.wait({entering, closing}, return_when=asyncio.FIRST_COMPLETED)
        # A refusal closes too; give it the moment it needs to be heard.
        await asyncio.wait({entering}, timeout=_MOMENT_S)
        if not entering.done():
            raise HungUpError("the broker hung up instead of answering CONNECT")
        entering.result()
    finally:
        closing.cancel()
        await _cancel(entering)


async def _watch(client: aiomqtt.Client, end: Callable[[BaseException], None]) -> None:
    """Ends the session when aiomqtt says that it is disconnected. Messages never come this way."""
    try:
        async for message in client.messages:
            end(AssertionError(f"paho was given a message of {message.topic}"))
    except aiomqtt.MqttError as error:
        end(error)


async def _keep_alive(connection: Connection) -> None:
    while True:
        await asyncio.sleep(_KEEP_ALIVE_S)
        connection.keep_alive()


def _in_words(error: BaseException) -> str:
    return f"{error}: {error.__cause__}" if error.__cause__ is not None else str(error) or type(error).__name__
