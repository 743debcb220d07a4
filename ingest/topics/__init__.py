"""From a topic to the device that sent and the decoder that reads."""
