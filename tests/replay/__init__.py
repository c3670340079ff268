"""Histories of every runbook, recorded at each release: what runs today must be able to go on tomorrow."""
