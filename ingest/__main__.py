"""The ingest process: `python -m ingest`. Everything is wired here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, NamedTuple

import structlog
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from ingest import tls
from ingest.batcher import Batcher
from ingest.dead_letters.api import DeadLettersService
from ingest.dead_letters.store import DeadLetters
from ingest.decoders import Decoders
from ingest.devices.command_answers import FILTERS, CommandAnswers
from ingest.devices.command_dispatch import CommandDispatch
from ingest.devices.commands import Commands
from ingest.devices.commands_api import DeviceCommandsService
from ingest.devices.credentials import Credentials, MosquittoFolder
from ingest.devices.mosquitto_files import Extra, Login
from ingest.devices.registry import AutoProvisioning, Registry
from ingest.devices.registry_api import DeviceRegistryService
from ingest.mqtt.broker_trial import try_queue
from ingest.mqtt.source import Broker, MqttOptions, MqttSource, Version
from ingest.pipeline import Pipeline
from ingest.settings import IngestSettings
from ingest.streams.intake import GrpcIntake
from ingest.streams.source import PATH, GrpcSource
from ingest.topics.rules import TopicRules
from ingest.warm_up import warm_up
from runtime import database, probe, redis_client
from runtime.database import create_engine
from runtime.durability import database_losses, log_losses, redis_losses
from runtime.grpc_server import Doorkeeper
from runtime.grpc_streams.server import GrpcStreamServer
from runtime.migrations import migrate
from runtime.partitioned_log import PartitionedLog, RedisStreamLog
from runtime.problems import Unavailable
from runtime.process import Stop, run_with_settings
from runtime.settings import CommonSettings
from runtime.tokens import Verifier, load_or_create_keys

log = structlog.get_logger()

_Checked = Batcher | CommandDispatch | Credentials | DeadLetters | Registry | MqttSource
# What decoders ask of devices is asked again if it is lost.
_REQUEST_EXPIRY_S: Final = 60


class _Parts(NamedTuple):
    """What an ingest process is made of."""

    registry: Registry
    credentials: Credentials
    batcher: Batcher
    dead_letters: DeadLetters
    pipeline: Pipeline
    commands: Commands
    answers: CommandAnswers
    dispatch: CommandDispatch
    sources: Sequence[MqttSource]
    """Of readings, and of answers to commands, at every broker."""


async def serve(stop: Stop, common: CommonSettings, settings: IngestSettings) -> None:
    """Runs until asked to stop, then drains: what was read is made durable and acknowledged, as far as `drain_s` lasts.

    Raises FatalError for what a person must mend.
    """
    warm_up()
    keys = load_or_create_keys(common.data_dir)
    broker_tls = tls.of_brokers(settings.mqtt_ca, settings.mqtt_certificate, settings.mqtt_key)
    brokers = [Broker.from_url(url.get_secret_value(), tls=broker_tls) for url in settings.mqtt_urls]
    rules, mqtt_sources = _rules(settings)
    await migrate(settings.database(common), "ingest")
    async with (
        _engine(settings.database(common)) as engine,
        redis_client.connect(common.redis_url.get_secret_value()) as client,
    ):
        readings_log = RedisStreamLog(client, common.partitions)
        if not await redis_client.wait_ready(client, stop):
            return
        await readings_log.check_partitions()
        log_losses([*await redis_losses(client), await database_losses(engine, "ingest database")])
        credentials = Credentials(
            engine, keys.issuer, mosquitto=_mosquitto_folder(settings, brokers), poll_s=settings.credentials_poll_s
        )
        if not await _knows_credentials(credentials, stop):
            return
        parts = _parts(settings, engine, readings_log, credentials, rules, brokers)
        mqtt_sources += parts.sources[: len(brokers)]
        async with _patience(stop, settings.drain_s, parts), asyncio.TaskGroup() as tasks:
            running = _start(parts, tasks)
            dispatching = tasks.create_task(parts.dispatch.run())
            intake = GrpcIntake(parts.pipeline, tasks, high_water_bytes=settings.grpc_high_water_bytes)
            grpc_source = GrpcSource(intake, credentials.check)
            async with (
                probe.serving(settings.probe_host, settings.probe_port, _checks(client, engine, parts)),
                _for_all(settings, keys.verifier, grpc_source, parts),
                _for_devices(settings, keys.verifier, grpc_source, credentials),
            ):
                reading = [tasks.create_task(source.run(stop)) for source in parts.sources]
                if settings.mqtt_trial:
                    running.append(tasks.create_task(_try_brokers(brokers, settings.mqtt_version)))
                log.info("ready", grpc=settings.grpc_address, brokers=[broker.host for broker in brokers])
                await stop.wait()
                dispatching.cancel()
                grpc_source.close()
                await asyncio.gather(*reading)
            for task in running:
                task.cancel()
            parts.batcher.close()
            parts.dead_letters.close()


@contextlib.asynccontextmanager
async def _engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        await engine.dispose()


def _rules(settings: IngestSettings) -> tuple[TopicRules, list[MqttSource]]:
    """The rules of topics, and the sources by which their decoders ask devices: to be filled."""
    sources: list[MqttSource] = []

    def publish(topic: str, payload: bytes) -> None:
        """To all brokers: which of them a device is at is not known, and elsewhere nobody listens."""
        for source in sources:
            source.outbox.put(topic, payload, qos=0, expiry_s=_REQUEST_EXPIRY_S)

    return TopicRules(Decoders(settings.topic_rules(), publish)), sources


def _parts(
    settings: IngestSettings,
    engine: AsyncEngine,
    readings_log: PartitionedLog,
    credentials: Credentials,
    rules: TopicRules,
    brokers: Sequence[Broker],
) -> _Parts:
    auto = AutoProvisioning(settings.auto_provision, frozenset(settings.auto_provision_tenants))
    registry = Registry(engine, auto)
    batcher = Batcher(
        readings_log,
        registry.device,
        renamed=registry.renamed,
        flush_readings=settings.flush_readings,
        flush_interval_s=settings.flush_interval_ms / 1000,
        queue_readings=settings.queue_readings,
    )
    dead_letters = DeadLetters(
        engine, retention_days=settings.dead_letter_retention_days, max_letters=settings.max_dead_letters
    )
    pipeline = Pipeline(rules, registry, batcher, dead_letters, max_payload_bytes=settings.max_payload_bytes)
    commands = Commands(engine, max_open=settings.max_open_commands, retention_days=settings.command_retention_days)
    answers = CommandAnswers(commands)
    options = _mqtt_options(settings)
    # A session of its own: neither the readings nor the commands wait for the other.
    of_commands = options._replace(client_id=f"{options.client_id}-commands")
    command_sources = [MqttSource(broker, FILTERS, answers, of_commands) for broker in brokers]
    sources = [MqttSource(broker, pipeline.filters, pipeline, options) for broker in brokers]
    return _Parts(
        registry,
        credentials,
        batcher,
        dead_letters,
        pipeline,
        commands,
        answers,
        CommandDispatch(commands, command_sources),
        [*sources, *command_sources],
    )


def _mqtt_options(settings: IngestSettings) -> MqttOptions:
    return MqttOptions(
        client_id=settings.mqtt_client_id,
        version=settings.mqtt_version,
        session_expiry_s=settings.mqtt_session_expiry_s,
        high_water_messages=settings.mqtt_high_water_messages,
        high_water_bytes=settings.mqtt_high_water_bytes,
        max_payload_bytes=settings.max_payload_bytes,
        drain_s=settings.drain_s,
        max_outbox=settings.mqtt_outbox_messages,
    )


def _start(parts: _Parts, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
    """Starts what runs by itself; returns those that must be cancelled at the end."""
    tasks.create_task(parts.batcher.run())
    tasks.create_task(parts.dead_letters.run())
    return [tasks.create_task(parts.dead_letters.run_retention()), tasks.create_task(parts.credentials.run())]


def _for_all(
    settings: IngestSettings, verifier: Verifier, source: GrpcSource, parts: _Parts
) -> contextlib.AbstractAsyncContextManager[object]:
    """The gRPC server of streams and of all that is asked of ingest."""
    services = [
        DeviceRegistryService(parts.registry, parts.credentials).add,
        DeadLettersService(parts.dead_letters, parts.pipeline, unrouted_tenant=settings.unrouted_tenant).add,
        DeviceCommandsService(parts.registry, parts.commands).add,
    ]
    return GrpcStreamServer(
        settings.grpc_address,
        Doorkeeper(verifier, check=parts.credentials.check),
        {PATH: source.open},
        services,
        grace_s=settings.drain_s,
        limits=settings.grpc_limits(),
    )


def _for_devices(
    settings: IngestSettings, verifier: Verifier, source: GrpcSource, credentials: Credentials
) -> contextlib.AbstractAsyncContextManager[object]:
    """The gRPC server with TLS, where one is asked for: it serves devices and nothing else."""
    if not settings.grpc_tls_address:
        return contextlib.nullcontext()
    shown = tls.of_devices(settings.grpc_tls_certificate, settings.grpc_tls_key, settings.grpc_tls_client_ca)
    return GrpcStreamServer(
        settings.grpc_tls_address,
        Doorkeeper(verifier, credentials.of_certificate, credentials.check),
        {PATH: source.open},
        tls=shown,
        grace_s=settings.drain_s,
        limits=settings.grpc_limits(),
    )


def _mosquitto_folder(settings: IngestSettings, brokers: Sequence[Broker]) -> MosquittoFolder | None:
    if settings.mosquitto_dir is None:
        return None
    logins = {Login(broker.username, broker.password or "") for broker in brokers if broker.username is not None}
    if settings.mqtt_certificate is not None:
        logins.add(Login(tls.common_name(settings.mqtt_certificate), None))
    extra = Extra(settings.mosquitto_extra_passwords, settings.mosquitto_extra_acl)
    return MosquittoFolder(settings.mosquitto_dir, sorted(logins), settings.mosquitto_acl, extra)


async def _try_brokers(brokers: Sequence[Broker], version: Version) -> None:
    """Says loudly where a broker drops what it should keep; one that cannot be tried is the source's to speak of."""
    for broker in brokers:
        finding = await try_queue(broker, version)
        if finding.level == "fail":
            log_losses([finding])


async def _knows_credentials(credentials: Credentials, stop: Stop) -> bool:
    """Waits for a database that is busy: before it says who may, nobody is let in. False when asked to stop."""
    while not stop.is_set():
        try:
            await credentials.refresh()
        except Unavailable as error:
            log.warning("waiting for the register of credentials", reason=str(error))
            await stop.wait_for(1.0)
        else:
            return True
    return False


@contextlib.asynccontextmanager
async def _patience(stop: Stop, seconds: float, parts: _Parts) -> AsyncIterator[None]:
    """Ends what still waits within the block, so long after the stop. Not before the block is left: also when all who
    could be told are gone, what was read must become durable or be given up.
    """
    waiting = asyncio.create_task(_give_up(stop, seconds, parts))
    try:
        yield
    finally:
        waiting.cancel()


async def _give_up(stop: Stop, seconds: float, parts: _Parts) -> None:
    await stop.wait()
    await asyncio.sleep(seconds)
    log.warning("stopping with messages that are not durable: they are not acknowledged, and will be sent again")
    parts.registry.close()
    parts.batcher.give_up()
    parts.dead_letters.close()
    parts.answers.close()


def _checks(client: Redis, engine: AsyncEngine, parts: _Parts) -> Mapping[str, probe.Check]:
    async def what_is_wrong(part: _Checked) -> str | None:
        return part.wrong

    checked: Sequence[_Checked] = [
        parts.batcher,
        parts.dead_letters,
        parts.registry,
        parts.credentials,
        parts.dispatch,
        *parts.sources,
    ]
    return {
        "redis": functools.partial(redis_client.trouble, client),
        "database": functools.partial(database.trouble, engine),
        **{
            f"{type(part).__name__.lower()}_{number}": functools.partial(what_is_wrong, part)
            for number, part in enumerate(checked)
        },
    }


if __name__ == "__main__":
    run_with_settings("ingest", "ingest", IngestSettings, serve)
