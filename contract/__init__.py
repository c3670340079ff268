"""What travels between the processes, and who may ask whom: nouns, ports, wire format, keys. No runbook, no SQL."""
