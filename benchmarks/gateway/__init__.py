"""What the gateway costs: calls through it against direct ones, and guests that idle. It brings up its own stage."""
