"""`python -m contract.keys list|guests|rotate|add|use EPOCH|forget EPOCH`: the master keys, and the gateway's branch.

Reads and writes the files that COFFER_MASTER_KEY_FILE and COFFER_GUEST_KEY_FILE name. Processes see the change by
themselves within a second. Where they do not share the files, a rotation has two steps: `add` and distribute both
files, then `use` and distribute them again. docs/security.md says when to forget an epoch.
"""

import argparse
import secrets
import sys

from contract.files import write_private
from contract.keys.keyring import KEY_BYTES, Ring, branch_of, parse, render
from contract.settings import KeySettings


class Refused(Exception):
    """What was asked would lose something; the message says what."""


class KeyFiles:
    """The two files, changed so that whoever reads them in between can open what others seal."""

    def __init__(self, settings: KeySettings) -> None:
        self._settings = settings

    def ring(self) -> Ring:
        """The master keys."""
        path = self._settings.master_key_file
        return parse(path.read_bytes(), "master", str(path))

    def write_branch(self) -> None:
        """Write the gateway's file."""
        write_private(self._settings.guest_key_file, render(branch_of(self.ring()), "guests"))

    def add(self) -> int:
        """Make the key of a new epoch, which seals nothing yet; return the epoch."""
        ring = self.ring()
        epoch = max(ring.secrets) + 1
        self._write(Ring({**ring.secrets, epoch: secrets.token_bytes(KEY_BYTES)}, ring.current))
        return epoch

    def use(self, epoch: int) -> None:
        """Seal with this epoch from now on; Refused when there is none."""
        ring = self.ring()
        if epoch not in ring.secrets:
            raise Refused(f"there is no epoch {epoch}")
        self._write(Ring(ring.secrets, epoch))

    def forget(self, epoch: int) -> None:
        """Remove an old epoch: what it sealed can never be read again. Refused for the one that seals."""
        ring = self.ring()
        if epoch == ring.current or epoch not in ring.secrets:
            raise Refused(f"epoch {epoch} seals" if epoch == ring.current else f"there is no epoch {epoch}")
        self._write(Ring({each: key for each, key in ring.secrets.items() if each != epoch}, ring.current))

    def _write(self, ring: Ring) -> None:
        """The gateway's file follows the master's: an epoch is in both before `use` lets it seal."""
        write_private(self._settings.master_key_file, render(ring, "master"))
        self.write_branch()


def main() -> int:
    """Do what the command line says."""
    ask = argparse.ArgumentParser(prog="python -m contract.keys", description=__doc__)
    verbs = ask.add_subparsers(dest="verb", required=True)
    for verb in ("list", "guests", "rotate", "add"):
        verbs.add_parser(verb)
    for verb in ("use", "forget"):
        verbs.add_parser(verb).add_argument("epoch", type=int)
    said = ask.parse_args()
    files = KeyFiles(KeySettings())
    try:
        _do(files, said)
    except (Refused, OSError, ValueError) as error:
        sys.stderr.write(f"✗ {error}\n")
        return 1
    ring = files.ring()
    for epoch in sorted(ring.secrets):
        sys.stdout.write(f"epoch {epoch}{': seals' if epoch == ring.current else ''}\n")
    return 0


def _do(files: KeyFiles, said: argparse.Namespace) -> None:
    if said.verb == "guests":
        files.write_branch()
    elif said.verb in ("add", "rotate"):
        epoch = files.add()
        if said.verb == "rotate":
            files.use(epoch)
    elif said.verb in ("use", "forget"):
        getattr(files, said.verb)(said.epoch)


if __name__ == "__main__":
    sys.exit(main())
