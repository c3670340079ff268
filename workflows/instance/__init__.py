"""Runbooks on one instance, one file per verb."""
