"""Backups: what an engine's own tools write, compressed, sealed and stored in chunks; and the way back."""
