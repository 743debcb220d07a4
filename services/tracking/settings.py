"""Settings of the tracking service: section `tracking`, environment `DROVER_TRACKING_*`."""

from __future__ import annotations

import pathlib

from pydantic import Field, SecretStr

from runtime.settings import CommonSettings, Settings
from tracking_core.settings import HOUR_US, SECOND_US, EngineSettings


class TrackingSettings(Settings):
    """What the tracking service needs to know."""

    grpc_address: str = Field("127.0.0.1:50052", description="host:port of the gRPC server.")
    database_url: SecretStr = Field(
        SecretStr(""), description="History and definitions; empty: SQLite file tracking.db in the data folder."
    )
    read_entries: int = Field(64, ge=1, le=10_000, description="Log entries of a partition taken at once at most.")
    history_flush_rows: int = Field(20_000, ge=1, description="Buffered rows at which history is written at once.")
    history_flush_ms: float = Field(200.0, ge=0, description="How long a row waits to be written at most.")
    history_queue_rows: int = Field(
        200_000, ge=1, description="Rows waiting to be written at which the fold waits for the database."
    )
    events_max_length: int = Field(
        1_000_000, ge=1_000, description="Events kept in the stream drover:events, about; SQL keeps all of them."
    )
    snapshot_interval_s: float = Field(30.0, gt=0, description="How often the state of a partition is written to disk.")
    snapshot_entries: int = Field(
        20_000, ge=1, description="Folded entries after which a snapshot is due before its time."
    )
    log_keep_hours: float = Field(24.0, ge=0, description="Log entries younger than this are never trimmed.")
    tick_interval_s: float = Field(1.0, ge=0.05, description="Least time between two ticks of an idle partition.")
    horizon_h: float = Field(
        24.0, gt=0, description="A reading older than a device's newest by more is stale, in hours."
    )
    kept_fixes: int = Field(64, ge=1, description="Fixes of a device that are remembered, to judge late ones.")
    future_tolerance_s: float = Field(300.0, ge=0, description="How far a device's clock may run ahead.")
    highest_speed_mps: float = Field(150.0, gt=0, description="Whatever moves faster is an implausible jump.")
    imprecise_m: float = Field(1000.0, gt=0, description="A fix with a larger accuracy radius does not count.")
    repeated_within_s: float = Field(
        120.0, ge=0, description="Of fixes with one sequence and content within this only the oldest counts; 0: all do."
    )
    signal_lost_after_s: float = Field(
        900.0, ge=0, description="A device without a fix that counts for this long has lost its signal; 0: never told."
    )
    cross_within_s: float = Field(
        600.0, gt=0, description="Between two fixes farther apart than this no fence counts as passed through."
    )
    follows_journeys: bool = Field(True, description="Smooth positions, count metres, and tell of stops and trips.")
    stop_radius_m: float = Field(50.0, gt=0, description="A stop is a stay within this radius ...")
    stop_after_s: float = Field(180.0, gt=0, description="... for this long.")
    trip_closes_after_s: float = Field(300.0, gt=0, description="A stop that lasts longer ends the trip.")
    trip_silence_s: float = Field(1_800.0, gt=0, description="So does a longer silence.")
    kept_places: int = Field(
        256, ge=2, description="Fixes of each device that a proximity remembers, to put late ones where they belong."
    )
    tag_reads: int = Field(1, ge=1, description="Reads within ten seconds that make a tag present.")
    tag_silence_s: float = Field(60.0, gt=0, description="A tag not read for this long has departed.")
    max_fence_vertices: int = Field(20_000, ge=4, description="A fence with more vertices is refused.")
    max_route_vertices: int = Field(100_000, ge=2, description="A route with more vertices or stops is refused.")
    probe_host: str = Field("127.0.0.1", description="Address of /metrics, /healthz and /readyz.")
    probe_port: int = Field(0, ge=0, le=65_535, description="Port of /metrics, /healthz and /readyz; 0 for none.")

    def database(self, common: CommonSettings) -> str:
        """The database's URL."""
        return self.database_url.get_secret_value() or f"sqlite+aiosqlite:///{common.data_dir / 'tracking.db'}"

    def engine(self, common: CommonSettings) -> EngineSettings:
        """What the engines are told; the partition is each one's own."""
        return EngineSettings(
            partitions=common.partitions,
            horizon_us=int(self.horizon_h * HOUR_US),
            kept_fixes=self.kept_fixes,
            future_tolerance_us=int(self.future_tolerance_s * SECOND_US),
            highest_speed_mps=self.highest_speed_mps,
            imprecise_m=self.imprecise_m,
            repeated_within_us=int(self.repeated_within_s * SECOND_US),
            signal_lost_after_us=int(self.signal_lost_after_s * SECOND_US),
            cross_within_us=int(self.cross_within_s * SECOND_US),
            follows_journeys=self.follows_journeys,
            stop_radius_m=self.stop_radius_m,
            stop_after_us=int(self.stop_after_s * SECOND_US),
            trip_closes_after_us=int(self.trip_closes_after_s * SECOND_US),
            trip_silence_us=int(self.trip_silence_s * SECOND_US),
            kept_places=self.kept_places,
            tag_reads=self.tag_reads,
            tag_silence_us=int(self.tag_silence_s * SECOND_US),
        )

    def snapshots(self, common: CommonSettings) -> pathlib.Path:
        """The folder of snapshots."""
        return common.data_dir / "tracking" / "snapshots"
