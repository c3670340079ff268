"""Payload keys by epoch, sealed secrets, tickets that guests enrol with."""
