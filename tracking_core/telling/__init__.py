"""What was concluded, as it is remembered and told."""
