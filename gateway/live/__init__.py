"""Latest positions and events, from Redis pub/sub to WebSocket clients."""
