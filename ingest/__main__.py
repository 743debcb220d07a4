"""The ingest process: `python -m ingest`. Everything is wired here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Mapping, Sequence
from typing import Final

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
from runtime.partitioned_log import RedisStreamLog
from runtime.problems import Unavailable
from runtime.process import Stop, run_with_settings
from runtime.settings import CommonSettings
from runtime.tokens import Verifier, load_or_create_keys

log = structlog.get_logger()

_Part = Batcher | CommandDispatch | Credentials | DeadLetters | Registry | MqttSource
# What decoders ask of devices is asked again if it is lost.
_REQUEST_EXPIRY_S: Final = 60


async def serve(stop: Stop, common: CommonSettings, settings: IngestSettings) -> None:
    """Runs until asked to stop, then drains: what was read is made durable and acknowledged, as far as `drain_s` lasts.

    Raises FatalError for what a person must mend.
    """
    warm_up()
    keys = load_or_create_keys(common.data_dir)
    mqtt_sources: list[MqttSource] = []

    def publish(topic: str, payload: bytes) -> None:
        """To all brokers: which of them a device is at is not known, and elsewhere nobody listens."""
        for source in mqtt_sources:
            source.outbox.put(topic, payload, qos=0, expiry_s=_REQUEST_EXPIRY_S)

    rules = TopicRules(Decoders(settings.topic_rules(), publish))
    broker_tls = tls.of_brokers(settings.mqtt_ca, settings.mqtt_certificate, settings.mqtt_key)
    brokers = [Broker.from_url(url.get_secret_value(), tls=broker_tls) for url in settings.mqtt_urls]
    await migrate(settings.database(common), "ingest")
    engine = create_engine(settings.database(common))
    try:
        async with redis_client.connect(common.redis_url.get_secret_value()) as client:
            partitioned_log = RedisStreamLog(client, common.partitions)
            if not await redis_client.wait_ready(client, stop):
                return
            await partitioned_log.check_partitions()
            log_losses([*await redis_losses(client), await database_losses(engine, "ingest database")])
            auto = AutoProvisioning(settings.auto_provision, frozenset(settings.auto_provision_tenants))
            registry = Registry(engine, auto)
            credentials = Credentials(
                engine,
                keys.issuer,
                mosquitto=_mosquitto_folder(settings, brokers),
                poll_s=settings.credentials_poll_s,
            )
            if not await _knows_credentials(credentials, stop):
                return
            batcher = Batcher(
                partitioned_log,
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
            options = MqttOptions(
                client_id=settings.mqtt_client_id,
                version=settings.mqtt_version,
                session_expiry_s=settings.mqtt_session_expiry_s,
                high_water_messages=settings.mqtt_high_water_messages,
                high_water_bytes=settings.mqtt_high_water_bytes,
                max_payload_bytes=settings.max_payload_bytes,
                drain_s=settings.drain_s,
                max_outbox=settings.mqtt_outbox_messages,
            )
            mqtt_sources += [MqttSource(broker, pipeline.filters, pipeline, options) for broker in brokers]
            commands = Commands(
                engine, max_open=settings.max_open_commands, retention_days=settings.command_retention_days
            )
            command_answers = CommandAnswers(commands)
            # A session of its own: neither the readings nor the commands wait for the other.
            command_sources = [
                MqttSource(
                    broker,
                    FILTERS,
                    command_answers,
                    options._replace(client_id=f"{options.client_id}-commands"),
                )
                for broker in brokers
            ]
            dispatch = CommandDispatch(commands, command_sources)
            letters_service = DeadLettersService(dead_letters, pipeline, unrouted_tenant=settings.unrouted_tenant)
            checks = _checks(
                client,
                engine,
                [batcher, dead_letters, registry, credentials, dispatch, *mqtt_sources, *command_sources],
            )

            async with asyncio.TaskGroup() as tasks:
                intake = GrpcIntake(pipeline, tasks, high_water_bytes=settings.grpc_high_water_bytes)
                grpc_source = GrpcSource(intake, credentials.check)
                registry_service = DeviceRegistryService(registry, credentials)
                commands_service = DeviceCommandsService(registry, commands)
                services = [registry_service.add, letters_service.add, commands_service.add]
                tasks.create_task(batcher.run())
                tasks.create_task(dead_letters.run())
                pruning = tasks.create_task(dead_letters.run_retention())
                polling = tasks.create_task(credentials.run())
                dispatching = tasks.create_task(dispatch.run())
                async with (
                    probe.serving(settings.probe_host, settings.probe_port, checks),
                    GrpcStreamServer(
                        settings.grpc_address,
                        Doorkeeper(keys.verifier, check=credentials.check),
                        {PATH: grpc_source.open},
                        services,
                        grace_s=settings.drain_s,
                        limits=settings.grpc_limits(),
                    ),
                    _for_devices(settings, keys.verifier, grpc_source, credentials),
                ):
                    sources = [*mqtt_sources, *command_sources]
                    reading = [tasks.create_task(source.run(stop)) for source in sources]
                    trial = tasks.create_task(
                        _try_brokers(brokers if settings.mqtt_trial else [], settings.mqtt_version)
                    )
                    log.info("ready", grpc=settings.grpc_address, brokers=[broker.host for broker in brokers])
                    await stop.wait()
                    impatience = tasks.create_task(
                        _give_up(settings.drain_s, registry, batcher, dead_letters, command_answers)
                    )
                    dispatching.cancel()
                    grpc_source.close()
                    await asyncio.gather(*reading)
                impatience.cancel()
                pruning.cancel()
                polling.cancel()
                trial.cancel()
                batcher.close()
                dead_letters.close()
    finally:
        await engine.dispose()


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


async def _give_up(
    after_s: float, registry: Registry, batcher: Batcher, dead_letters: DeadLetters, answers: CommandAnswers
) -> None:
    await asyncio.sleep(after_s)
    log.warning("stopping with messages that are not durable: they are not acknowledged, and will be sent again")
    registry.close()
    batcher.give_up()
    dead_letters.close()
    answers.close()


def _checks(client: Redis, engine: AsyncEngine, parts: Sequence[_Part]) -> Mapping[str, probe.Check]:
    async def what_is_wrong(part: _Part) -> str | None:
        return part.wrong

    return {
        "redis": functools.partial(redis_client.trouble, client),
        "database": functools.partial(database.trouble, engine),
        **{
            f"{type(part).__name__.lower()}_{number}": functools.partial(what_is_wrong, part)
            for number, part in enumerate(parts)
        },
    }


if __name__ == "__main__":
    run_with_settings("ingest", "ingest", IngestSettings, serve)
