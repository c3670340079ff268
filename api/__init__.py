"""Trove v1.0 over HTTP: starts runbooks, asks guests, reads records."""
