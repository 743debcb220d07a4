"""Settings of the shipment service: section `shipment`, environment `DROVER_SHIPMENT_*`."""

from __future__ import annotations

from pydantic import Field, SecretStr

from runtime.settings import CommonSettings, Settings


class ShipmentSettings(Settings):
    """What the shipment service needs to know."""

    grpc_address: str = Field("127.0.0.1:50053", description="host:port of the gRPC server.")
    tracking_address: str = Field("127.0.0.1:50052", description="host:port of the tracking service's gRPC.")
    call_timeout_s: float = Field(5.0, gt=0, description="How long the tracking service may take to answer a call.")
    database_url: SecretStr = Field(
        SecretStr(""), description="Shipments; empty: SQLite file shipment.db in the data folder."
    )
    consumer: str = Field(
        "shipment-1", min_length=1, description="Name in the consumer group: unique a process, the same at each start."
    )
    event_tries: int = Field(5, ge=1, description="Tries of an event before it is put among the dead ones.")
    probe_host: str = Field("127.0.0.1", description="Address of /metrics, /healthz and /readyz.")
    probe_port: int = Field(0, ge=0, le=65_535, description="Port of /metrics, /healthz and /readyz; 0 for none.")

    def database(self, common: CommonSettings) -> str:
        """The database's URL."""
        return self.database_url.get_secret_value() or f"sqlite+aiosqlite:///{common.data_dir / 'shipment.db'}"
