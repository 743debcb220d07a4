"""What could not be taken, kept to be looked at and replayed."""
