"""Logs of engine and guest: their files, what is remembered of them, and how they are published."""
