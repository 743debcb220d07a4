"""Tag reads, and the tags that are present."""
