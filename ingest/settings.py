"""Settings of the ingest process: section `ingest`, environment `DROVER_INGEST_*`."""

from __future__ import annotations

import json
import pathlib
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field, SecretStr

from ingest.devices.device_name import is_tenant
from ingest.field_mapping import FieldSources
from runtime.grpc_streams.liveness import Limits
from runtime.settings import CommonSettings, Settings


def _parsed(value: Any) -> Any:
    """The environment has only text: a JSON array, or items between commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return tuple(part.strip() for part in value.split(",") if part.strip())


class TopicRule(Settings):
    """How one family of foreign topics is read.

    Levels are counted from 0: in `owntracks/jane/phone` the level 1 is `jane`. A device id made of several levels is
    joined by dots: `jane.phone`.
    """

    filter: str = Field(description="MQTT filter, for instance owntracks/+/+/#.", min_length=1)
    decoder: str = Field(description="Name of a decoder, see docs/formats.md.")
    device_levels: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        description="Topic levels that make the device id.", min_length=1
    )
    optional_device_level: int | None = Field(
        None, ge=0, description="Topic level that is added to the device id where a topic has it."
    )
    tenant: str | None = Field(None, description="Tenant of all devices under this rule.")
    tenant_level: int | None = Field(None, ge=0, description="Topic level that names the tenant, instead of `tenant`.")
    fields: FieldSources = Field(
        {}, description="Where the fields of chirpstack, tts, json_fields and sparkplug stand, see docs/formats.md."
    )

    @pydantic.model_validator(mode="after")
    def _names_one_tenant(self) -> Self:
        if (self.tenant is None) == (self.tenant_level is None):
            raise ValueError(f"topic rule {self.filter}: set either tenant or tenant_level")
        if self.tenant is not None and not is_tenant(self.tenant):
            raise ValueError(f"topic rule {self.filter}: {self.tenant!r} cannot be a tenant")
        return self


class IngestSettings(Settings):
    """What the ingest process needs to know."""

    mqtt_urls: Annotated[tuple[SecretStr, ...], pydantic.BeforeValidator(_parsed)] = Field(
        (SecretStr("mqtt://127.0.0.1:1883"),),
        description="Brokers to subscribe at: mqtt(s)://[user:password@]host:port, between commas; empty for none.",
    )
    mqtt_ca: pathlib.Path | None = Field(
        None, description="Certificates (PEM) that sign the brokers' for mqtts://; without it, the system's."
    )
    mqtt_certificate: pathlib.Path | None = Field(
        None, description="Own certificate (PEM) for brokers that ask for one; its common name is the user name."
    )
    mqtt_key: pathlib.Path | None = Field(None, description="Key (PEM) of mqtt_certificate.")
    mosquitto_dir: pathlib.Path | None = Field(
        None, description="Folder where mosquitto.passwords and mosquitto.acl are kept up to date; none: not written."
    )
    mosquitto_acl: Literal["devices", "pattern"] = Field(
        "devices", description="Form of mosquitto.acl: topics of each device, or one pattern; see docs/security.md."
    )
    mosquitto_extra_passwords: pathlib.Path | None = Field(
        None, description="Lines that go into mosquitto.passwords before ours, for users that are no devices."
    )
    mosquitto_extra_acl: pathlib.Path | None = Field(
        None, description="Lines that go into mosquitto.acl before ours, each behind a `user` line of its own."
    )
    mqtt_client_id: str = Field(
        "drover-ingest", min_length=1, description="Fixed client id: the broker keeps the session of this name."
    )
    mqtt_version: Literal["auto", "5", "3.1.1"] = Field(
        "auto", description="Version of MQTT to speak; auto tries 5, then 3.1.1 where the broker does not know it."
    )
    mqtt_session_expiry_s: int = Field(
        7 * 86_400, ge=0, description="How long the broker keeps the session while ingest is away."
    )
    mqtt_trial: bool = Field(
        True, description="Whether to try at start, with messages below drover/doctor, that the broker drops nothing."
    )
    mqtt_high_water_messages: int = Field(
        100_000, ge=1, description="Messages in flight at which reading from a broker pauses."
    )
    mqtt_high_water_bytes: int = Field(
        64 * 1024 * 1024, ge=1, description="Bytes in flight at which reading from a broker pauses."
    )
    mqtt_outbox_messages: int = Field(
        10_000, ge=1, description="Messages to devices that may wait for a broker; beyond it, the oldest are dropped."
    )
    grpc_address: str = Field("127.0.0.1:50051", description="host:port of the gRPC server.")
    grpc_tls_address: str = Field(
        "", description="host:port of a second gRPC server, with TLS, for devices; empty: none."
    )
    grpc_tls_certificate: pathlib.Path | None = Field(None, description="Its certificate chain (PEM).")
    grpc_tls_key: pathlib.Path | None = Field(None, description="Its key (PEM).")
    grpc_tls_client_ca: pathlib.Path | None = Field(
        None,
        description="Certificates (PEM) that sign devices'; with it, each device must show one, and needs no token.",
    )
    credentials_poll_s: float = Field(
        2.0, gt=0, description="How late at most a change of credentials by another process is heeded."
    )
    grpc_high_water_bytes: int = Field(
        64 * 1024 * 1024, ge=1, description="Bytes in flight at which reading from all gRPC streams pauses."
    )
    grpc_max_connections: int = Field(
        16_384, ge=1, description="Connections to each gRPC server; calls on further ones are answered UNAVAILABLE."
    )
    grpc_idle_s: float = Field(
        300.0,
        gt=0,
        description="How long a gRPC connection may be without a call. Clients connect again by themselves.",
    )
    grpc_ping_after_s: float = Field(
        7200.0, gt=0, description="Silence after which a gRPC peer is pinged: shorter finds dead ones behind a proxy."
    )
    grpc_ping_timeout_s: float = Field(20.0, gt=0, description="How long it has to answer before it is cut off.")
    database_url: SecretStr = Field(
        SecretStr(""), description="Devices and dead letters; empty: SQLite file ingest.db in the data folder."
    )
    auto_provision: bool = Field(False, description="Whether an unknown device is provisioned when it first sends.")
    auto_provision_tenants: Annotated[tuple[str, ...], pydantic.BeforeValidator(_parsed)] = Field(
        (), description="Tenants whose devices may be provisioned so; empty: all."
    )
    topics: Annotated[tuple[TopicRule, ...], pydantic.BeforeValidator(_parsed)] = Field(
        (),
        description="Rules for foreign topics: filter, decoder, device_levels, tenant or tenant_level, and options.",
    )
    owntracks_tenant: str | None = Field(
        None, description="Tenant of owntracks/{user}/{device}; without it, OwnTracks topics are not subscribed."
    )
    unrouted_tenant: str | None = Field(
        None, description="Tenant that sees the dead letters of topics that name none; without it, nobody but services."
    )
    max_payload_bytes: int = Field(1024 * 1024, ge=1024, description="Larger messages are dead-lettered, cut.")
    flush_readings: int = Field(4096, ge=1, description="Readings at which a batch is appended at once.")
    flush_interval_ms: float = Field(5.0, ge=0, description="How long a reading waits for others at most.")
    queue_readings: int = Field(262_144, ge=1, description="Readings waiting for the log at which sources wait.")
    dead_letter_retention_days: float = Field(30.0, gt=0, description="How long dead letters are kept.")
    max_dead_letters: int = Field(1_000_000, ge=1, description="Beyond it, the oldest dead letters go.")
    max_open_commands: int = Field(
        32, ge=1, description="Commands to one device that may wait for their end; further ones are refused."
    )
    command_retention_days: float = Field(30.0, gt=0, description="How long commands are kept after their time.")
    drain_s: float = Field(10.0, ge=0, description="How long a stop waits for readings to reach the log.")
    probe_host: str = Field("127.0.0.1", description="Address of /metrics, /healthz and /readyz.")
    probe_port: int = Field(0, ge=0, le=65_535, description="Port of /metrics, /healthz and /readyz; 0 for none.")

    def database(self, common: CommonSettings) -> str:
        """The database's URL."""
        return self.database_url.get_secret_value() or f"sqlite+aiosqlite:///{common.data_dir / 'ingest.db'}"

    def grpc_limits(self) -> Limits:
        """What each gRPC server puts up with."""
        return Limits(self.grpc_max_connections, self.grpc_idle_s, self.grpc_ping_after_s, self.grpc_ping_timeout_s)

    def topic_rules(self) -> tuple[TopicRule, ...]:
        """`topics`, and the rule for OwnTracks where it has a tenant."""
        if self.owntracks_tenant is None:
            return self.topics
        owntracks = TopicRule(
            filter="owntracks/+/+/#",
            decoder="owntracks",
            device_levels=(1, 2),
            tenant=self.owntracks_tenant,
            tenant_level=None,
        )
        return (*self.topics, owntracks)
