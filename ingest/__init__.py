"""From sockets to the telemetry log: sources, decoders, admission, batcher, dead letters; acknowledges devices."""
