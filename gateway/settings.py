"""What the gateway needs to know: `DROVER_GATEWAY_<FIELD>` or `[gateway]`. Redis and the data folder are `common`."""

from __future__ import annotations

import pydantic
from pydantic import Field

from runtime.settings import Settings


class GatewaySettings(Settings):
    """The section `gateway`."""

    host: str = Field("127.0.0.1", description="Address that HTTP and WebSocket listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that HTTP and WebSocket listen on; 0 takes a free one.")
    ingest_address: str = Field("127.0.0.1:50051", description="host:port of ingest's gRPC.")
    tracking_address: str = Field("127.0.0.1:50052", description="host:port of the tracking service's gRPC.")
    shipment_address: str = Field("127.0.0.1:50053", description="host:port of the shipment service's gRPC.")
    call_timeout_s: float = Field(10.0, gt=0, description="How long a service may take to answer one request.")

    tile_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s;,'\"]+$",
        description="Tile server of the base map, with {z}, {x} and {y}. Without one, the built-in outline is shown.",
    )
    tile_attribution: str = Field("", description="Whom the map must name for the tiles.")
    demo_tenant: str | None = Field(
        None, description="Hands anyone on this machine a dispatcher's token for this tenant. Only on loopback."
    )
    allowed_origins: list[str] = Field(
        [], description="Web origins other than our own whose pages may call REST and open WebSockets."
    )
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="Largest body of a REST request.")
    stop_grace_s: float = Field(
        5.0, gt=0, description="How long WebSocket clients get to hear the goodbye when asked to stop."
    )

    frame_interval_s: float = Field(0.05, ge=0.02, le=60, description="Least time between two frames of a client.")
    frame_time_share: float = Field(
        0.5, gt=0, le=1, description="Share of a processor for frames; with many clients they come less often instead."
    )
    max_clients: int = Field(5_000, ge=1, description="WebSocket clients at once; one more is asked to come later.")
    max_devices: int = Field(10_000, ge=1, description="Devices that one subscription may name.")
    max_message_bytes: int = Field(512 * 1024, ge=1024, description="Largest message a WebSocket client may send.")
    messages_per_s: float = Field(10.0, gt=0, description="Messages a second a WebSocket client may send, lastingly.")
    event_queue: int = Field(256, ge=1, description="Events that wait for one slow client before it misses some.")
    write_buffer_bytes: int = Field(
        256 * 1024, ge=1024, description="Unsent bytes of one client from which on it gets no new frames."
    )
    stall_timeout_s: float = Field(
        30.0, gt=0, description="A client that takes nothing for so long while bytes wait for it is cut off."
    )
    ping_interval_s: float = Field(20.0, gt=0, description="How often WebSocket clients are pinged.")
    history_ticks: int = Field(
        240, ge=1, description="Frame intervals kept for clients that fell behind or reconnect; older: a snapshot."
    )

    @pydantic.field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """In the environment, origins are separated by commas."""
        if isinstance(value, str):
            return [origin.strip() for origin in value.split(",") if origin.strip()]
        return value
