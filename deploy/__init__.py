"""Coffer on one machine: set-up, the stack under its supervisor, the demonstration."""
