"""Barbican, emulated."""
