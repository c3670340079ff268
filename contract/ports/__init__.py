"""What a runbook may ask of the world: small abstract classes, one argument and one answer each."""
