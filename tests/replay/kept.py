"""Where the histories are, and the key that opens them."""

from pathlib import Path

from contract.keys.keyring import MasterKeyring

HISTORIES = Path(__file__).parent / "histories"
KEYRING = MasterKeyring.of(b"h" * 32)  # no secret: what the recorded payloads are sealed with
