"""Samples, and the limits that they break."""
