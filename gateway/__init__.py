"""REST, WebSocket and the live map."""
