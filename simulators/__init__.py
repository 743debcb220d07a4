"""Fleets, sensors, RFID portals and faults, over real MQTT and gRPC."""
