"""Coffer on an OpenStack that is there: what it needs there is made, found again, and undone."""
