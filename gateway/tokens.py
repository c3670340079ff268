"""Task tokens, wrapped: Temporal's own are unsigned, and whoever guesses one could answer for another guest.

`VERSION || EPOCH || HMAC-SHA256(key of the epoch, guest || token) || token`. Nothing is kept: every gateway process
opens what any of them has wrapped.
"""

import hmac
import struct

from contract.keys.keyring import Keyring, NotOurs
from gateway.denied import forbidden
from gateway.guest import Guest

HEAD = struct.Struct("!BI")
VERSION = 1
MAC_BYTES = 32
MAX_BYTES = 4096


class TaskTokens:
    """Wraps for one guest, and opens for no other."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def wrap(self, guest: Guest, token: bytes) -> bytes:
        """Bind a token of Temporal's to the guest that its task is for."""
        head = HEAD.pack(VERSION, self._keyring.current)
        return head + self._mac(guest, head, token) + token

    def unwrap(self, guest: Guest, wrapped: bytes) -> bytes:
        """Return Temporal's token; denied where it was not wrapped for this guest."""
        head, mac, token = (
            wrapped[: HEAD.size],
            wrapped[HEAD.size : HEAD.size + MAC_BYTES],
            wrapped[HEAD.size + MAC_BYTES :],
        )
        if len(wrapped) > MAX_BYTES or not token or head[0] != VERSION:
            raise forbidden("this is no task token of yours")
        try:
            wanted = self._mac(guest, head, token)
        except NotOurs:
            raise forbidden("this is no task token of yours") from None
        if not hmac.compare_digest(mac, wanted):
            raise forbidden("this is no task token of yours")
        return token

    def _mac(self, guest: Guest, head: bytes, token: bytes) -> bytes:
        epoch = HEAD.unpack(head)[1]
        return self._keyring.mac(f"t:{epoch}", head + f"{guest.instance_id}/{guest.generation}/".encode() + token)
