"""One schedule on one stage: load, faults, everything up again, and the verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from runtime.tokens import Role
from tests.chaos import faults, readings
from tests.chaos.faults import BrokerDeath
from tests.chaos.grpc_sender import GrpcSender
from tests.chaos.mqtt_sender import MqttSender
from tests.chaos.receipt_sender import ReceiptSender
from tests.chaos.schedule import Fault, Schedule
from tests.chaos.stage import Stage
from tests.chaos.verdict import Acknowledged, Verdict, dead_letters_of, history_is_complete, judge, rows_of

DEVICES: Final = 5
MQTT_MESSAGES: Final = 1_200
MQTT_READINGS: Final = 4
RECEIPT_MESSAGES: Final = 150
GRPC_BATCHES: Final = 240
GRPC_READINGS: Final = 10
PATIENCE_S: Final = 150.0
"""How long everything together may take on a machine that is busy."""


async def run(schedule: Schedule, stage: Stage) -> Verdict:
    """Raises CrashedError, or TimeoutError when something was not delivered in the end."""
    assert stage.database == schedule.database
    stage.runs += 1
    tenant = f"seed{schedule.seed}-{stage.runs}"
    mqtt = MqttSender(
        stage.broker.port,
        f"sender-{tenant}",
        tenant,
        readings.messages("m", DEVICES, MQTT_MESSAGES, MQTT_READINGS),
    )
    grpc = GrpcSender(
        stage.proxies["sender-ingest"].port,
        lambda: stage.issuer.issue("chaos", tenant, Role.FORWARDER, 600),
        readings.messages("g", DEVICES, GRPC_BATCHES, GRPC_READINGS),
    )
    receipt = ReceiptSender(
        stage.broker.port,
        f"asking-{tenant}",
        tenant,
        readings.messages("r", DEVICES, RECEIPT_MESSAGES, MQTT_READINGS),
    )
    last = MqttSender(stage.broker.port, f"last-{tenant}", tenant, readings.messages("last", 1, 1, 1))
    try:
        async with asyncio.timeout(PATIENCE_S):
            deaths = await _load(schedule, stage, (mqtt, receipt), grpc)
            # What the broker has acknowledged may still wait there. It sends in order: this comes last.
            await last.run()
            while not any(key == last.messages[0].keys[0] for key, _ in await rows_of(stage, tenant)):
                stage.check_running()
                await asyncio.sleep(0.05)
            await history_is_complete(stage)
            rows = await rows_of(stage, tenant)
            letters = await dead_letters_of(stage, tenant)
    finally:
        grpc.give_up()
    assert not grpc.refused, grpc.refused
    sent = {
        key for message in (*mqtt.messages, *receipt.messages, *grpc.messages, *last.messages) for key in message.keys
    }
    acknowledged = [
        *(
            Acknowledged(key, at_s)
            for sender in (mqtt, last)
            for n, at_s in sender.acknowledged_at_s.items()
            for key in sender.messages[n].keys
        ),
        *(Acknowledged(key, None) for n in receipt.settled for key in receipt.messages[n].keys),
        *(Acknowledged(key, None) for message in grpc.messages[: grpc.acknowledged] for key in message.keys),
    ]
    return judge(rows, sent, acknowledged, deaths, letters)


async def _load(schedule: Schedule, stage: Stage, mqtt: Sequence[MqttSender], grpc: GrpcSender) -> list[BrokerDeath]:
    """Devices send, faults happen; returns when all faults are mended and all messages acknowledged."""
    started_s = time.monotonic()

    async def one(fault: Fault) -> BrokerDeath | None:
        await asyncio.sleep(fault.at_s - (time.monotonic() - started_s))
        return await faults.do(fault, stage)

    async def watch() -> None:
        while True:
            stage.check_running()
            await asyncio.sleep(0.1)

    try:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            doing = [tasks.create_task(one(fault)) for fault in schedule.faults]
            sending = [
                *(tasks.create_task(each.run()) for each in mqtt),
                tasks.create_task(asyncio.to_thread(grpc.run)),
            ]
            await asyncio.wait(doing)
            stage.clear_up()
            await asyncio.wait(sending)
            watching.cancel()
    finally:
        stage.clear_up()
        grpc.give_up()
    return [death for task in doing if (death := task.result()) is not None]
