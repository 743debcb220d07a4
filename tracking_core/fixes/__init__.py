"""What a fix is worth, and the last fixes of each device."""
