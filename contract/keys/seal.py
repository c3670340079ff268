"""`python -m contract.keys.seal INSTANCE_ID`: seal a secret from standard input for one instance's guest."""

import json
import sys
from uuid import UUID

from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from contract.settings import TemporalSettings


def main() -> None:
    """Print the sealed form of the first line of standard input, as JSON for an order."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m contract.keys.seal INSTANCE_ID < file-with-the-secret")
    box = SecretBox(MasterKeyring.read(TemporalSettings().master_key_file), UUID(sys.argv[1]))
    secret = sys.stdin.readline().rstrip("\n")
    sys.stdout.write(json.dumps(box.seal(secret).model_dump()) + "\n")


if __name__ == "__main__":
    main()
