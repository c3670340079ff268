"""Who asks: tokens are looked up in the records, and believed for some seconds."""

import asyncio
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from contract.keys.enrolment import hash_of_token
from gateway.denied import away, stranger
from gateway.guest import Guest
from records.engine import AsyncEngine, is_away
from records.guests import GuestIdentity, identities

KEPT = 50_000
BELIEVED = 60.0  # seconds that known guests are believed while the records do not answer: nothing is revoked there then
JUST_NOW = 0.5  # seconds between two looks at one guest for tokens that do not count: strangers ask for no more
QUESTIONS = 2  # asked at once about guests, and about strangers, who must not take the records from everybody else
MAX_TOKEN = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What the records said of a guest, and when (monotonic seconds)."""

    identity: GuestIdentity | None
    at: float


class IdentityCache:
    """Guests by the hashes of their tokens, cached."""

    def __init__(self, engine: AsyncEngine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._seen: OrderedDict[UUID, CacheEntry] = OrderedDict()
        self._about_guests = asyncio.Semaphore(QUESTIONS)
        self._about_strangers = asyncio.Semaphore(QUESTIONS)

    async def guest_of(self, token: str) -> tuple[Guest, bool]:
        """Return the guest that owns the token, and whether the records know it to be used. Denied if unknown, or
        while the records are unreachable.
        """
        instance_id, came = _claimed(token), time.monotonic()
        identity = await self._look(instance_id, came - self._seconds)
        if not _counts(token, identity):  # it may have been made a moment ago
            await self._pause(instance_id, came)
            identity = await self._look(instance_id, came)
            if self._is_older(instance_id, came):
                raise away("the records do not answer")
        if identity is None or not _counts(token, identity):
            raise stranger()
        return Guest(identity.instance_id, identity.generation), identity.used

    async def _look(self, instance_id: UUID, since: float) -> GuestIdentity | None:
        """What the records said at this time or later."""
        if self._is_older(instance_id, since):
            seen = self._seen.get(instance_id)
            known = seen is not None and seen.identity is not None
            async with self._about_guests if known else self._about_strangers:
                if self._is_older(instance_id, since):  # nobody has asked while we waited
                    await self._ask([instance_id])
        seen = self._seen.get(instance_id)
        if seen is None or time.monotonic() - seen.at > BELIEVED:
            raise away("the records do not answer")
        return seen.identity

    def _is_older(self, instance_id: UUID, since: float) -> bool:
        seen = self._seen.get(instance_id)
        return seen is None or seen.at < since

    async def _pause(self, instance_id: UUID, came: float) -> None:
        """Wait until this guest may be looked at again, unless somebody has since the call came."""
        seen = self._seen.get(instance_id)
        if seen is not None and seen.at < came:
            await asyncio.sleep(seen.at + JUST_NOW - came)

    async def _ask(self, ids: Collection[UUID]) -> None:
        """Look these up; while the records are away, what was seen stays and grows old."""
        now = time.monotonic()
        try:
            async with self._engine.connect() as conn:
                found = {each.instance_id: each for each in await identities(conn, ids)}
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("the records do not answer: %s", type(error).__name__)
            return
        for each in ids:
            self._seen[each] = CacheEntry(found.get(each), now)
            self._seen.move_to_end(each)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)

    async def gone(self, guests: Collection[Guest]) -> list[Guest]:
        """Look up all who have a poll open, in one question; return those who are nobody any more."""
        await self._ask({each.instance_id for each in guests})
        return [each for each in guests if not self._is_known(each)]

    def _is_known(self, guest: Guest) -> bool:
        seen = self._seen.get(guest.instance_id)
        return seen is not None and seen.identity is not None and seen.identity.generation == guest.generation


def _claimed(token: str) -> UUID:
    instance_id, dot, _ = token.partition(".")
    try:
        return UUID(instance_id if dot and len(token) <= MAX_TOKEN else "")
    except ValueError:
        raise stranger() from None


def _counts(token: str, identity: GuestIdentity | None) -> bool:
    said = hash_of_token(token)
    return identity is not None and any(hmac.compare_digest(said, each) for each in identity.hashes)
