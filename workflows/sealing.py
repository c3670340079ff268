"""Keys, and secrets sealed for one reader: AES-256-GCM under keys derived from the master key by HKDF."""

import base64
import os
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from workflows.domain.accounts import Sealed
from workflows.names import CONTROL, guest_key_id

KEY_BYTES = 32
NONCE_BYTES = 12

__all__ = ["CONTROL", "Keyring", "NotOurs", "SecretBox", "guest_key_id"]


class NotOurs(ValueError):
    """A sealed value does not open: another key, another purpose, or damaged."""


class Keyring:
    """Opens and seals by key id. The control plane derives any key; a guest holds only its own."""

    def __init__(self, *, master: bytes | None = None, keys: dict[str, bytes] | None = None) -> None:
        self._master = master
        self._keys = dict(keys or {})

    @classmethod
    def of_guest(cls, instance_id: UUID | str, key: bytes) -> "Keyring":
        """The keyring that a guest has."""
        return cls(keys={guest_key_id(instance_id): key})

    @classmethod
    def read(cls, path: Path) -> "Keyring":
        """The control plane's keyring, from the master key's file: 32 bytes, raw or as hexadecimal text."""
        content = path.read_bytes()
        master = content if len(content) == KEY_BYTES else bytes.fromhex(content.decode().strip())
        if len(master) != KEY_BYTES:
            raise ValueError(f"the master key in {path} is not {KEY_BYTES} bytes long")
        return cls(master=master)

    def key(self, key_id: str) -> bytes:
        """Return the key of this name; NotOurs when this process may not have it."""
        if key_id in self._keys:
            return self._keys[key_id]
        if self._master is None or key_id[:2] not in ("c:", "g:"):
            raise NotOurs(f"no key {key_id!r} here")
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=key_id.encode()).derive(self._master)
        if key_id == CONTROL:  # guests' keys are cheap to derive and too many to keep
            self._keys[key_id] = derived
        return derived

    def encrypt(self, key_id: str, plain: bytes, purpose: bytes) -> bytes:
        """Return nonce and ciphertext; `purpose` must be the same to open it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.key(key_id)).encrypt(nonce, plain, purpose)

    def decrypt(self, key_id: str, data: bytes, purpose: bytes) -> bytes:
        """Return the plain bytes; NotOurs when key, purpose or content is wrong."""
        try:
            return AESGCM(self.key(key_id)).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], purpose)
        except (InvalidTag, ValueError) as error:
            raise NotOurs(f"cannot open a value sealed with {key_id!r}") from error


class SecretBox:
    """Seals passwords for one guest, and opens what that guest sealed."""

    def __init__(self, keyring: Keyring, instance_id: UUID | str) -> None:
        self._keyring = keyring
        self._key_id = guest_key_id(instance_id)

    def seal(self, secret: str) -> Sealed:
        """Seal a secret; only the guest and the control plane's key holders open it."""
        data = self._keyring.encrypt(self._key_id, secret.encode(), b"secret")
        return Sealed(sealed=base64.b64encode(data).decode())

    def open(self, sealed: Sealed) -> str:
        """Open a secret; NotOurs when it was sealed for another guest or is damaged."""
        try:
            data = base64.b64decode(sealed.sealed, validate=True)
            return self._keyring.decrypt(self._key_id, data, b"secret").decode()
        except ValueError as error:
            raise NotOurs("the password is not sealed for this instance") from error
