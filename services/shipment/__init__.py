"""Shipments: what is carried, past which stops, and what became of it."""
