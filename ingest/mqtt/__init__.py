"""MQTT: sessions at brokers, read in bulk, acknowledged after the append, and the way back to devices."""
