"""What the gateway counts."""

from __future__ import annotations

from runtime.metrics import LATENCY_BUCKETS_S, LATENESS_BUCKETS_S, BulkHistogram, Counter, Gauge, Histogram

REQUEST_SECONDS = Histogram(
    "drover_gateway_request_seconds",
    "Time to answer a REST request.",
    ("method", "route", "status"),
    buckets=LATENCY_BUCKETS_S,
)
CLIENTS = Gauge("drover_gateway_live_clients_count", "WebSocket clients now.")
DEVICES = Gauge("drover_gateway_live_devices_count", "Devices whose latest position is kept in memory.")
FRAMES_SENT = Counter("drover_gateway_live_frames_total", "Frames of positions sent.", ("kind",))
FRAMES_DROPPED = Counter(
    "drover_gateway_live_frames_dropped_total", "Frame intervals with changes that a client too slow for them missed."
)
BYTES_SENT = Counter("drover_gateway_live_sent_bytes_total", "Bytes of messages sent to WebSocket clients.")
POSITIONS_SENT = Counter("drover_gateway_live_positions_total", "Positions sent to WebSocket clients.")
EVENTS_SENT = Counter("drover_gateway_live_events_total", "Events and notices sent to WebSocket clients.")
EVENTS_MISSED = Counter(
    "drover_gateway_live_events_missed_total", "Events that the full queue of a slow client pushed out."
)
EVENTS_QUEUED = Gauge("drover_gateway_live_events_queued_count", "Events now waiting for clients, all queues together.")
CLIENTS_CUT = Counter("drover_gateway_live_clients_cut_total", "Clients cut off, by reason.", ("reason",))
PUBSUB_LAG_SECONDS = Histogram(
    "drover_gateway_pubsub_lag_seconds",
    "From ingest receiving the newest fix of a live frame to the gateway hearing of it.",
    buckets=(0.005, 0.01, 0.025, *LATENESS_BUCKETS_S),
)
LATENESS_SECONDS = BulkHistogram(
    "drover_gateway_position_lateness_seconds",
    "Age of live positions, by the device's clock, when the gateway hears of them.",
    (0.005, 0.01, 0.025, 0.05, *LATENESS_BUCKETS_S),
)
PUBSUB_MESSAGES = Counter("drover_gateway_pubsub_messages_total", "Pub/sub messages heard, by topic.", ("topic",))
PUBSUB_DAMAGED = Counter("drover_gateway_pubsub_damaged_total", "Pub/sub messages that could not be read.", ("topic",))
PUBSUB_CONNECTIONS = Counter("drover_gateway_pubsub_connections_total", "Times the pub/sub connection was made.")
RESYNCS = Counter("drover_gateway_resyncs_total", "Times a tenant's positions were fetched anew.", ("outcome",))
TICK_SECONDS = Histogram(
    "drover_gateway_tick_seconds", "Time to publish one frame interval to the tables.", buckets=LATENCY_BUCKETS_S
)
