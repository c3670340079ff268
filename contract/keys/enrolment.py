"""Enrolment tickets, derived and never stored, so that making one again changes nothing; and what is kept of a token."""

import base64
import hashlib
import hmac
import re
import secrets
from uuid import UUID

from contract.keys.keyring import Keyring, NotOurs

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 random bytes in base64


def new_token(instance_id: UUID) -> str:
    """A token for a guest: `INSTANCE_ID.BASE64`."""
    return f"{instance_id}.{secrets.token_urlsafe(32)}"


def is_token(token: str, instance_id: UUID) -> bool:
    """Whether a token has the form of `new_token`. A shorter one could be found by its hash."""
    whose, _, secret = token.partition(".")
    return whose == str(instance_id) and _SECRET.fullmatch(secret) is not None


def hash_of_token(token: str) -> str:
    """What the records keep of a guest's token, and guest and gateway compute alike. It is random, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def ticket_for(keyring: Keyring, instance_id: UUID, generation: int) -> str:
    """The ticket of one generation of an instance's guest: `EPOCH.BASE64`."""
    return _ticket(keyring, keyring.current, instance_id, generation)


def is_ticket(keyring: Keyring, ticket: str, instance_id: UUID, generation: int) -> bool:
    """Whether a ticket is this generation's, of any epoch that is kept."""
    epoch = ticket.partition(".")[0]
    if not (epoch.isascii() and epoch.isdigit() and len(epoch) < 10):
        return False
    try:
        wanted = _ticket(keyring, int(epoch), instance_id, generation)
    except NotOurs:
        return False
    return hmac.compare_digest(ticket.encode(), wanted.encode())


def _ticket(keyring: Keyring, epoch: int, instance_id: UUID, generation: int) -> str:
    mac = keyring.mac(f"e:{epoch}", f"{instance_id}/{generation}".encode())
    return f"{epoch}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
