"""Proximities of two devices."""
