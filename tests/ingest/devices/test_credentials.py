"""The register of credentials: what a number is worth, in one process and in two, and in the middle of a stream."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import pathlib
import stat
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from sqlalchemy import text

from drover.api.ingest.v1 import ingest_service_pb2 as messages
from drover.api.ingest.v1 import ingest_service_pb2_grpc as stubs
from ingest.devices import mosquitto_files
from ingest.devices.credentials import Credentials, CredentialsExistError, MosquittoFolder
from ingest.devices.device_name import DeviceName
from ingest.devices.mosquitto_files import ACL, PASSWORDS, Entry, Extra, Login
from ingest.devices.registry import Device, Registry
from runtime.database import create_engine
from runtime.grpc_client import metadata, problem_of
from runtime.migrations import migrate
from runtime.problems import Problem
from runtime.tokens import Role, load_or_create_keys
from tests.ingest.rig import FakeLog, Rig, running
from tests.ingest.streams.test_grpc import Server, acked, fixes, request, server
from tests.servers.databases import database_url

__all__ = ["database_url", "server"]  # the fixtures

PATIENCE_S = 30.0


@pytest.fixture
async def rig(tmp_path: pathlib.Path) -> AsyncIterator[Rig]:
    async with running(tmp_path, FakeLog()) as running_rig:
        yield running_rig


async def test_on_both_databases(database_url: str, tmp_path: pathlib.Path) -> None:
    await migrate(database_url, "ingest")
    engine = create_engine(database_url)
    try:
        registry = Registry(engine)
        keys = load_or_create_keys(tmp_path)
        first, second = Credentials(engine, keys.issuer), Credentials(engine, keys.issuer)
        devices = [await registry.provision(DeviceName("both", f"truck-{n}")) for n in range(5)]
        await first.refresh()
        results = await asyncio.gather(
            *(who.create(each) for each in devices for who in (first, second)), return_exceptions=True
        )
        assert sum(isinstance(result, CredentialsExistError) for result in results) == 5
        await asyncio.gather(first.rotate(devices[0]), second.rotate(devices[0]), second.revoke(devices[1]))
        for who in (first, second):
            await who.refresh()
            assert who.of(devices[0].name) == (3, False)
            assert who.of(devices[1].name) == (2, True)
            assert [who.of(each.name) for each in devices[2:]] == [(1, False)] * 3
    finally:
        await engine.dispose()


async def device(rig: Rig, device_id: str = "truck") -> Device:
    return await rig.registry.provision(DeviceName("acme", device_id))


async def test_secrets_are_told_once_and_not_kept(rig: Rig, tmp_path: pathlib.Path) -> None:
    credentials = Credentials(rig.engine, load_or_create_keys(tmp_path).issuer)
    issued = await credentials.create(await device(rig))
    assert len(issued.password) >= 43  # 256 bits
    async with rig.engine.connect() as connection:
        row = (await connection.execute(text("SELECT * FROM device_credentials"))).one()
    assert issued.password not in str(row)
    _, kind, iterations, salt, key = row.secret_hash.split("$")
    assert kind == "7"
    expected = hashlib.pbkdf2_hmac(
        "sha512", issued.password.encode(), base64.b64decode(salt), int(iterations), dklen=64
    )
    assert base64.b64decode(key) == expected
    with pytest.raises(CredentialsExistError):
        await credentials.create(await device(rig))
    assert (await credentials.rotate(await device(rig))).number == 2
    await credentials.revoke(await device(rig))
    with pytest.raises(CredentialsExistError):
        await credentials.create(await device(rig))
    assert (await credentials.rotate(await device(rig))).number == 4  # no number comes back to life


async def test_another_process_hears_of_it(rig: Rig, tmp_path: pathlib.Path) -> None:
    keys = load_or_create_keys(tmp_path)
    first = Credentials(rig.engine, keys.issuer)
    second = Credentials(rig.engine, keys.issuer, poll_s=0.01)
    await second.refresh()
    running_second = asyncio.create_task(second.run())
    truck = await device(rig)
    issued = await first.create(truck)
    caller = keys.verifier.verify(issued.token)

    async def until(number: int, *, is_revoked: bool) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while second.of(truck.name) != (number, is_revoked):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    await until(1, is_revoked=False)
    second.check(caller)
    others = [await device(rig, f"other-{n}") for n in range(20)]
    await asyncio.gather(*(first.rotate(other) for other in others))
    await first.revoke(truck)
    await until(2, is_revoked=True)
    with pytest.raises(Exception, match="revoked"):
        second.check(caller)
    async with asyncio.timeout(PATIENCE_S):
        while not all(second.of(other.name) == (1, False) for other in others):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running_second.cancel()


async def test_the_broker_s_files_follow(rig: Rig, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "files"
    login = Login("ingest", "p")
    credentials = Credentials(
        rig.engine, load_or_create_keys(tmp_path).issuer, mosquitto=MosquittoFolder(folder, [login], "devices")
    )
    await credentials.refresh()

    def users() -> list[str]:
        return [line.partition(":")[0] for line in (folder / PASSWORDS).read_text().splitlines()]

    assert users() == ["ingest"]
    truck, van = await device(rig), await device(rig, "van")
    await credentials.create(truck)
    await credentials.create(van)
    assert users() == ["ingest", "acme/truck", "acme/van"]
    assert "topic write drover/v1/acme/van/position\n" in (folder / ACL).read_text()
    await credentials.revoke(truck)
    assert users() == ["ingest", "acme/van"]
    assert "truck" not in (folder / ACL).read_text()
    assert {path.name for path in folder.iterdir()} == {PASSWORDS, ACL}  # no drafts left behind
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o640}


async def test_lines_of_one_s_own_go_first_and_are_watched(rig: Rig, tmp_path: pathlib.Path) -> None:
    folder, extra = tmp_path / "files", Extra(tmp_path / "own.passwords", tmp_path / "own.acl")
    assert extra.passwords is not None
    assert extra.acl is not None
    extra.passwords.write_text("dashboard:$7$x")
    extra.acl.write_text("user dashboard\ntopic read drover/v1/acme/#")
    credentials = Credentials(
        rig.engine, load_or_create_keys(tmp_path).issuer, mosquitto=MosquittoFolder(folder, [], "devices", extra)
    )
    await credentials.create(await device(rig))
    acl = (folder / ACL).read_text().splitlines()
    assert acl[:2] == ["user dashboard", "topic read drover/v1/acme/#"]
    assert acl[3] == "user acme/truck"
    assert (folder / PASSWORDS).read_text().splitlines()[0] == "dashboard:$7$x"
    written = (folder / ACL).stat().st_ino
    await credentials.refresh()
    assert (folder / ACL).stat().st_ino == written
    extra.acl.unlink()
    extra.acl.write_text("user other")
    await credentials.refresh()
    assert (folder / ACL).read_text().splitlines()[0] == "user other"
    extra.acl.unlink()
    await credentials.refresh()
    assert credentials.wrong is not None
    assert (folder / ACL).read_text().splitlines()[0] == "user other"  # rather as it was than open or shut


async def test_files_that_cannot_be_written_are_said_and_tried_again(rig: Rig, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "files"
    folder.write_text("in the way")
    credentials = Credentials(
        rig.engine,
        load_or_create_keys(tmp_path).issuer,
        mosquitto=MosquittoFolder(folder, [], "pattern"),
        poll_s=0.01,
    )
    await credentials.create(await device(rig))
    assert credentials.wrong is not None
    assert str(folder) in credentials.wrong
    running_task = asyncio.create_task(credentials.run())
    folder.unlink()
    async with asyncio.timeout(PATIENCE_S):
        while credentials.wrong is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running_task.cancel()
    assert (folder / PASSWORDS).read_text().startswith("acme/truck:$7$")


def test_a_reader_never_sees_half_a_file(tmp_path: pathlib.Path) -> None:
    devices = [Entry(DeviceName("acme", f"truck-{n}"), "$7$hash") for n in range(50)]
    mosquitto_files.write(tmp_path, [], devices)
    with (tmp_path / ACL).open() as before:
        inode = os.fstat(before.fileno()).st_ino
        mosquitto_files.write(tmp_path, [], devices[:1])
        assert before.read().count("user ") == 50
    assert (tmp_path / ACL).stat().st_ino != inode


async def test_the_grpc_deny_matrix(server: Server) -> None:
    """Who may send for whom, with which token."""
    registry: Any = stubs.DeviceRegistryStub(server.link)
    admin = server.metadata(Role.ADMIN)
    given = {}
    for device_id in ("truck", "van"):
        answer = await registry.CreateCredentials(
            messages.CreateCredentialsRequest(device_id=device_id), metadata=admin
        )
        given[device_id] = answer.credentials
    await server.rig.provision("truck", tenant="umbrella")
    issue = server.keys.issuer.issue

    async def send(token: str, device_id: str) -> list[str]:
        """The reasons of rejections. Raises the Problem that ends the stream."""
        call = server.link.stream_stream(
            "/drover.api.ingest.v1.TelemetryIngest/Stream",
            response_deserializer=messages.StreamResponse.FromString,
        )
        pairs: Any = metadata(token) if token else None
        try:
            answers = [answer async for answer in call(iter([request(1, [(device_id, fixes())])]), metadata=pairs)]
        except grpc.aio.AioRpcError as error:
            raise problem_of(error) from error
        assert acked(answers) == 1
        return [each.reason for answer in answers for each in answer.rejections]

    async def refused(token: str, code: str, device_id: str = "truck") -> None:
        with pytest.raises(Problem) as caught:
            await send(token, device_id)
        assert caught.value.code == code

    truck, van = given["truck"].grpc_token, given["van"].grpc_token
    assert (given["truck"].mqtt_username, given["truck"].credential_number) == ("acme/truck", 1)
    assert await send(truck, "truck") == []
    assert await send(truck, "van") == ["forbidden"]
    assert await send(van, "truck") == ["forbidden"]
    assert await send(truck, "../umbrella/truck") == ["forbidden"]
    # Another tenant's device of the same name: the token says whose.
    assert await send(issue("truck", "umbrella", Role.DEVICE, 60), "truck") == []
    assert server.log.readings.positions.device.tolist() == [0, 2]
    await refused(issue("truck", "acme", Role.DEVICE, 60), "credential_revoked")  # an operator's, beside credentials
    await refused(issue("truck", "acme", Role.DEVICE, -1, credential=1), "token_expired")
    await refused(issue("truck", "acme", Role.DEVICE, 60, credential=2), "credential_revoked")
    await refused(issue("truck", "umbrella", Role.DEVICE, 60, credential=1), "credential_revoked")
    await refused(issue("truck", "acme", Role.VIEWER, 60), "role_not_allowed")
    await refused(truck[:-4] + "AAAA", "invalid_token")
    await refused("", "token_missing")
    claims = jwt.decode(truck, options={"verify_signature": False})
    folder_keys = server.keys
    key = folder_keys.issuer._private_key
    for change in ({"aud": "elsewhere"}, {"iss": "elsewhere"}, {"credential": "1"}, {"sub": 7}):
        await refused(jwt.encode(claims | change, key, algorithm="EdDSA"), "invalid_token")
    none = jwt.encode(claims, None, algorithm="none")
    await refused(none, "invalid_token")
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    await refused(jwt.encode(claims, public, algorithm="HS256"), "invalid_token")
    rotated = await registry.RotateCredentials(messages.RotateCredentialsRequest(device_id="truck"), metadata=admin)
    await refused(truck, "credential_revoked")
    assert await send(rotated.credentials.grpc_token, "truck") == []
    await registry.RevokeCredentials(messages.RevokeCredentialsRequest(device_id="truck"), metadata=admin)
    await refused(rotated.credentials.grpc_token, "credential_revoked")
    assert await send(van, "van") == []
    for role in (Role.VIEWER, Role.DISPATCHER, Role.FORWARDER, Role.DEVICE):
        for method, asked in [
            (registry.CreateCredentials, messages.CreateCredentialsRequest(device_id="truck")),
            (registry.RotateCredentials, messages.RotateCredentialsRequest(device_id="truck")),
            (registry.RevokeCredentials, messages.RevokeCredentialsRequest(device_id="truck")),
        ]:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method(asked, metadata=server.metadata(role))
            assert problem_of(caught.value).code == "role_not_allowed"
    for method, asked in [
        (registry.RotateCredentials, messages.RotateCredentialsRequest(device_id="van")),
        (registry.RevokeCredentials, messages.RevokeCredentialsRequest(device_id="van")),
    ]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(asked, metadata=server.metadata(Role.ADMIN, tenant="umbrella"))
        assert problem_of(caught.value).code == "unknown_device"
    states = await registry.ListDevices(messages.ListDevicesRequest(), metadata=admin)
    assert [device.credential_state for device in states.devices] == [
        messages.CREDENTIAL_STATE_REVOKED,
        messages.CREDENTIAL_STATE_ACTIVE,
    ]


async def test_a_stream_ends_when_its_credential_does(server: Server) -> None:
    """Though it began when all was well: what is read after the revocation is not taken."""
    registry: Any = stubs.DeviceRegistryStub(server.link)
    admin = server.metadata(Role.ADMIN)
    given = await registry.CreateCredentials(messages.CreateCredentialsRequest(device_id="truck"), metadata=admin)
    go_on = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        yield request(1, [("truck", fixes(1, 1))])
        await go_on.wait()
        yield request(2, [("truck", fixes(1, 2))])

    call = server.link.stream_stream(
        "/drover.api.ingest.v1.TelemetryIngest/Stream", response_deserializer=messages.StreamResponse.FromString
    )
    pairs: Any = metadata(given.credentials.grpc_token)
    stream = call(requests(), metadata=pairs)
    answers = aiter(stream)
    async with asyncio.timeout(PATIENCE_S):
        assert (await anext(answers)).acked_through == 1
        await registry.RevokeCredentials(messages.RevokeCredentialsRequest(device_id="truck"), metadata=admin)
        go_on.set()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(answers)
    assert problem_of(caught.value).code == "credential_revoked"
    assert server.log.readings.positions.sequence.tolist() == [1]


async def test_a_stream_ends_when_its_token_does(server: Server) -> None:
    token = server.keys.issuer.issue("truck", "acme", Role.DEVICE, 2)

    async def requests() -> AsyncIterator[bytes]:
        for number in range(1, 10_000):
            yield request(number, [("truck", fixes(1, number))])
            await asyncio.sleep(0.05)

    call = server.link.stream_stream(
        "/drover.api.ingest.v1.TelemetryIngest/Stream", response_deserializer=messages.StreamResponse.FromString
    )
    pairs: Any = metadata(token)
    started_s = time.time()

    async def listen() -> None:
        async for _ in call(requests(), metadata=pairs):
            pass

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(listen(), PATIENCE_S)
    assert problem_of(caught.value).code == "token_expired"
    assert time.time() >= int(started_s) + 2
