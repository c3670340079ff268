"""One runbook per lifecycle operation; deterministic, without credentials."""
