"""Where the histories are, and the key that opens them."""

from pathlib import Path

from workflows.sealing import Keyring

HISTORIES = Path(__file__).parent / "histories"
KEYRING = Keyring(master=b"h" * 32)  # no secret: what the recorded payloads are sealed with
