"""The whole state as bytes."""
