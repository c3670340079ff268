"""What is stored of a backup can be read with its key alone, and only as the chunk that it is, of the backup that it is of.

A backup that is made again uses its key again. So each attempt has a key of its own, from the backup's and a random salt
that stands in the manifest; under that, the nonce is the number of the chunk. What is not a chunk's own text, its number
and whether it is the last one are authenticated with it.
"""

import secrets
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES, SALT_BYTES = 32, 16
CHUNK_BYTES = 8 * 1024 * 1024  # of what is compressed; of all that is held in memory, the measure


class NotThisChunk(Exception):
    """What was read is not what was sealed as this chunk."""


def new_attempt() -> str:
    """Return what tells one attempt's chunks from another's."""
    return secrets.token_hex(SALT_BYTES)


class ChunkSeal:
    """Seals and opens the chunks of one attempt at one backup."""

    def __init__(self, key: bytes, backup_id: UUID, attempt: str) -> None:
        derive = HKDF(SHA256(), KEY_BYTES, salt=bytes.fromhex(attempt), info=b"coffer backup chunks")
        self._cipher = AESGCM(derive.derive(key))
        self._backup = backup_id.bytes

    def seal(self, number: int, data: bytes, *, last: bool) -> bytes:
        """Seal the chunk of a number; each number once."""
        return self._cipher.encrypt(number.to_bytes(12, "big"), data, self._about(number, last))

    def open(self, number: int, data: bytes, *, last: bool) -> bytes:
        """Open it; NotThisChunk for anything else."""
        try:
            return self._cipher.decrypt(number.to_bytes(12, "big"), data, self._about(number, last))
        except InvalidTag:
            raise NotThisChunk from None

    def _about(self, number: int, last: bool) -> bytes:
        return self._backup + number.to_bytes(8, "big") + bytes([last])
