"""The core: nouns, ports and one runbook per lifecycle operation; pure, deterministic, without credentials."""
