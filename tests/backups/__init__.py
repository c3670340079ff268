"""Backups in the guest: chunks, engines, jobs."""
