"""`python -m services.tracking`: wires the tracking service and runs it. Nothing connects before `main`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import structlog

from drover.api.tracking.v1 import tracking_service_pb2_grpc as pb_grpc
from runtime import process, redis_client
from runtime.database import create_engine, trouble
from runtime.durability import database_losses, log_losses, redis_losses
from runtime.grpc_server import GrpcServer
from runtime.migrations import migrate
from runtime.partitioned_log import RedisStreamLog
from runtime.probe import Check, serving
from runtime.problems import FatalError
from runtime.process import Stop
from runtime.settings import CommonSettings
from runtime.tokens import load_or_create_keys
from services.tracking.api import DefinitionsApi, TrackingApi
from services.tracking.definition_repository import DefinitionRepository
from services.tracking.definitions import DefinitionBook
from services.tracking.directory import Directory
from services.tracking.event_sink import EventSink
from services.tracking.explanations.repository import ExplanationRepository
from services.tracking.fold import Fold, Sinks
from services.tracking.history import HistorySink
from services.tracking.live_sink import LiveSink
from services.tracking.ports import Limits, Ports
from services.tracking.repository import HistoryRepository, history_url
from services.tracking.restore import restore_all
from services.tracking.settings import TrackingSettings
from services.tracking.snapshot_rounds import SnapshotRounds
from services.tracking.snapshots import SnapshotFolder
from services.tracking.warm_up import warm_up

log = structlog.get_logger()

STOP_S = 15.0
"""How long a stop waits for history and last snapshots."""


async def main(stop: Stop, common: CommonSettings, settings: TrackingSettings) -> None:
    """Runs until asked to stop."""
    try:
        common.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FatalError(f"cannot make the folder {common.data_dir}: {error.strerror}") from error
    keys = load_or_create_keys(common.data_dir)
    url = settings.database(common)
    await migrate(url, "services.tracking")
    client = redis_client.connect(common.redis_url.get_secret_value())
    if not await redis_client.wait_ready(client, stop):
        await client.aclose()
        return
    telemetry = RedisStreamLog(client, common.partitions)
    await telemetry.check_partitions()
    database, writer = create_engine(url), create_engine(history_url(url))
    log_losses([*await redis_losses(client), await database_losses(database, "tracking database")])
    engine_thread = ThreadPoolExecutor(1, "engine")
    rows_thread = ThreadPoolExecutor(1, "rows")
    try:
        history = HistoryRepository(writer)
        reader = HistoryRepository(database)
        definitions = DefinitionRepository(database)
        devices = await history.devices()
        directory = Directory(devices)
        history_sink = HistorySink(
            history,
            directory,
            rows_thread,
            partitions=common.partitions,
            flush_rows=settings.history_flush_rows,
            flush_s=settings.history_flush_ms / 1000,
            queue_rows=settings.history_queue_rows,
        )
        offsets = await history_sink.load()
        event_sink = EventSink(client, settings.events_max_length)
        markers = await event_sink.load(common.partitions)
        folder = SnapshotFolder(settings.snapshots(common))
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(engine_thread, warm_up)
        partitions = await loop.run_in_executor(
            engine_thread,
            restore_all,
            settings.engine(common),
            folder,
            offsets,
            markers,
            directory,
            devices,
            await definitions.every(),
        )
        book = DefinitionBook(definitions, directory, telemetry, client)
        rounds = SnapshotRounds(
            partitions,
            folder,
            history_sink,
            event_sink,
            telemetry,
            history,
            interval_s=settings.snapshot_interval_s,
            entries=settings.snapshot_entries,
            log_keep_hours=settings.log_keep_hours,
        )
        fold = Fold(
            telemetry,
            partitions,
            Sinks(history_sink, event_sink, LiveSink(client)),
            directory,
            book,
            rounds,
            engine_thread,
            read_entries=settings.read_entries,
            tick_interval_s=settings.tick_interval_s,
        )
        ports = Ports(
            book,
            definitions,
            reader,
            ExplanationRepository(database),
            settings.engine(common),
            fold,
            directory,
            Limits(settings.max_fence_vertices, settings.max_route_vertices),
            lambda: time.time_ns() // 1000,
        )

        async def log_answers() -> str | None:
            return fold.trouble or event_sink.trouble

        async def database_answers() -> str | None:
            return await trouble(database) or history_sink.trouble

        async def snapshots_are_written() -> str | None:
            return rounds.trouble

        checks: Mapping[str, Check] = {
            "log": log_answers,
            "database": database_answers,
            "snapshots": snapshots_are_written,
        }
        server = GrpcServer(
            settings.grpc_address,
            keys.verifier,
            [
                lambda server: pb_grpc.add_TrackingServicer_to_server(TrackingApi(ports), server),
                lambda server: pb_grpc.add_DefinitionsServicer_to_server(DefinitionsApi(ports), server),
            ],
        )
        async with serving(settings.probe_host, settings.probe_port, checks), asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(history_sink.run())
            tasks.create_task(book.run(stop))
            async with server:
                folding = tasks.create_task(fold.run(stop))
                log.info("ready", grpc_port=server.port, partitions=common.partitions)
                await stop.wait()
                # A sink may be waiting for a server that is away; what it holds is still in the log.
                await asyncio.wait({folding, writing}, timeout=STOP_S)
                folding.cancel()
                writing.cancel()
    finally:
        engine_thread.shutdown()
        rows_thread.shutdown()
        await client.aclose()
        await writer.dispose()
        await database.dispose()


if __name__ == "__main__":
    process.run_with_settings("tracking", "tracking", TrackingSettings, main)
