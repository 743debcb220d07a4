"""Stops, trips, the odometer, and smoothed motion."""
