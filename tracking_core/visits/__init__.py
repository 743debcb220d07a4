"""Devices and fences: visits, passages, time windows."""
