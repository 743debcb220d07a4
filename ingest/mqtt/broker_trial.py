"""What a broker could lose, found by trying: does it keep messages for a subscriber that is away, and how many?

A trial subscriber with a session of its own goes away, messages are published, and it comes back and counts. Brokers
tell their limits to nobody, so this is the only way to learn the limits of all of them. What it costs: some thousand
messages of a few bytes on topics of our own, and a session that is removed at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Final

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.mqtt.source import Broker, Version
from runtime.durability import Finding

TRIAL_TOPIC: Final = "drover/doctor"
"""Trials publish and subscribe below it; an ACL that forbids this makes the trial impossible, and nothing worse."""

_MESSAGES: Final = 1_500  # Mosquitto's default limit is 1,000
_AT_ONCE: Final = 10  # more pending ones aiomqtt calls a mistake
_EXPIRY_S: Final = 60
_PATIENCE_S: Final = 10.0
_SILENCE_S: Final = 1.0
_FAILURE_CODE: Final = 128


async def try_queue(broker: Broker, version: Version = "auto") -> Finding:
    """Whether the broker keeps what comes while its subscriber is away."""
    if version == "auto":
        found = await try_queue(broker, "5")
        return found if found.level != "warn" else await try_queue(broker, "3.1.1")
    session = f"drover-doctor-{secrets.token_hex(6)}"
    topic = f"{TRIAL_TOPIC}/{session}"
    is_version_5 = version == "5"
    where = f"{broker.host}:{broker.port}"
    try:
        async with asyncio.timeout(3 * _PATIENCE_S):
            async with _client(broker, session, is_version_5=is_version_5, is_new=True) as subscriber:
                granted = (await subscriber.subscribe(topic, qos=1))[0]
                code = granted.value if isinstance(granted, ReasonCode) else granted
                is_allowed = code < _FAILURE_CODE and await _is_heard(subscriber, topic)
            if not is_allowed:
                text = f"{where} keeps its user from {TRIAL_TOPIC}/#: what it drops could not be tried"
                return Finding("ok", "mqtt", text)
            if code == 0:
                text = f"{where} grants only QoS 0: what comes while ingest is away is lost"
                return Finding("fail", "mqtt", text)
            async with _client(broker, f"{session}-sender", is_version_5=is_version_5, is_new=True) as sender:
                for first in range(0, _MESSAGES, _AT_ONCE):
                    await asyncio.gather(*(sender.publish(topic, b"%d" % n, 1) for n in range(first, first + _AT_ONCE)))
            kept = await _count(broker, session, is_version_5=is_version_5)
            async with _client(broker, session, is_version_5=is_version_5, is_new=True, is_last=True):
                pass  # takes the session away
    except TimeoutError:
        return Finding("warn", "mqtt", f"{where} took too long to try what it keeps")
    except aiomqtt.MqttError as error:
        return Finding("warn", "mqtt", f"{where}: what it keeps could not be tried: {error}")
    if kept >= _MESSAGES:
        return Finding("ok", "mqtt", f"{where} kept {kept:,} messages for a subscriber that was away")
    text = f"{where} kept {kept:,} of {_MESSAGES:,} messages for a subscriber that was away: the rest is lost"
    return Finding("fail", "mqtt", f"{text}; for Mosquitto, set `max_queued_messages 0`")


async def _is_heard(subscriber: aiomqtt.Client, topic: str) -> bool:
    """Whether a message comes back: Mosquitto grants every subscription, and delivers nothing where its ACL forbids."""
    await subscriber.publish(topic, b"", 1)
    try:
        await asyncio.wait_for(anext(aiter(subscriber.messages)), 2 * _SILENCE_S)
    except TimeoutError:
        return False
    return True


async def _count(broker: Broker, session: str, *, is_version_5: bool) -> int:
    seen: set[object] = set()
    async with _client(broker, session, is_version_5=is_version_5, is_new=False) as subscriber:
        messages = aiter(subscriber.messages)
        with contextlib.suppress(TimeoutError):
            while len(seen) < _MESSAGES:
                message = await asyncio.wait_for(anext(messages), _SILENCE_S if seen else _PATIENCE_S)
                seen.add(message.payload)
    return len(seen)


def _client(broker: Broker, session: str, *, is_version_5: bool, is_new: bool, is_last: bool = False) -> aiomqtt.Client:
    properties = None
    if is_version_5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0 if is_last else _EXPIRY_S
    return aiomqtt.Client(
        broker.host,
        broker.port,
        username=broker.username,
        password=broker.password,
        identifier=session,
        protocol=aiomqtt.ProtocolVersion.V5 if is_version_5 else aiomqtt.ProtocolVersion.V311,
        # In MQTT 3.1.1 a clean session is one that does not last; of a name that is new, none is there to be cleaned.
        clean_session=None if is_version_5 else is_last,
        clean_start=is_new if is_version_5 else MQTT_CLEAN_START_FIRST_ONLY,  # which 3.1.1 takes for not said
        properties=properties,
        timeout=_PATIENCE_S,
        tls_context=broker.tls,
    )
