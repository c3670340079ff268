"""The nouns every process speaks of: frozen facts, enums and pure rules."""
