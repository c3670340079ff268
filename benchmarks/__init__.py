"""How fast Coffer is, measured against a running stack: `python -m benchmarks`, or `make bench`."""
