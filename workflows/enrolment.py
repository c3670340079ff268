"""Enrolment tickets, derived and never stored, so that making one again changes nothing; and what is kept of a token."""

import base64
import hashlib
import hmac
from uuid import UUID

from workflows.keyring import Keyring, NotOurs


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
