"""How payloads travel: Temporal client, encryption, guests' answers."""
