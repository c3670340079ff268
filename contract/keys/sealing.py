"""Secrets sealed for one reader: AES-256-GCM under the reader's own key."""

import base64
from uuid import UUID

from contract.domain.accounts import Sealed
from contract.keys.keyring import Keyring, NotOurs
from contract.names import guest_key_id

PURPOSE = b"secret"

__all__ = ["NotOurs", "SecretBox"]


class SecretBox:
    """Seals passwords for one guest, and opens what that guest sealed. A sealed value is `EPOCH.BASE64`."""

    def __init__(self, keyring: Keyring, instance_id: UUID | str) -> None:
        self._keyring = keyring
        self._instance_id = str(instance_id)

    def seal(self, secret: str) -> Sealed:
        """Seal a secret; only the guest and those who hold its key open it."""
        epoch = self._keyring.current
        data = self._keyring.encrypt(guest_key_id(self._instance_id, epoch), secret.encode(), PURPOSE)
        return Sealed(sealed=f"{epoch}.{base64.b64encode(data).decode()}")

    def open(self, sealed: Sealed) -> str:
        """Open a secret; NotOurs when it was sealed for another guest or is damaged."""
        epoch, _, text = sealed.sealed.rpartition(".")
        key_id = f"i:{self._instance_id}:{epoch}"
        try:
            data = base64.b64decode(text, validate=True)
            return self._keyring.decrypt(key_id, data, PURPOSE).decode()
        except ValueError as error:
            raise NotOurs("the secret is not sealed for this instance") from error
