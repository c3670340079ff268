"""Taking data to another series of its engine."""
