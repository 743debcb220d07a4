"""Tracking: hosts the engine, writes history, publishes events and live positions, keeps the definitions."""
