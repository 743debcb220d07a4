"""Planned routes: progress, arrivals, and arrival times."""
