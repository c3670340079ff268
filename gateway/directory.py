"""Who asks: tokens are looked up in the records, and believed for some seconds."""

import asyncio
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from gateway.denied import away, stranger
from gateway.guest import Guest
from records.engine import AsyncEngine, is_away
from records.guests import GuestIdentity, identities

KEPT = 50_000
BELIEVED = 60.0  # seconds that known guests are believed while the records do not answer: nothing is revoked there then
JUST_NOW = 0.5  # seconds: what was looked up before may miss an enrolment or a new token
QUESTIONS = 2  # asked at once about guests, and about strangers, who must not take the records from everybody else
MAX_TOKEN = 200

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the records said of a guest, and when."""

    identity: GuestIdentity | None
    at: float


class Directory:
    """Knows guests by the hashes of their tokens."""

    def __init__(self, engine: AsyncEngine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._seen: OrderedDict[UUID, Seen] = OrderedDict()
        self._about_guests = asyncio.Semaphore(QUESTIONS)
        self._about_strangers = asyncio.Semaphore(QUESTIONS)

    async def guest_of(self, token: str) -> Guest:
        """Return whose token it is; denied when it is nobody's, or while nobody can say."""
        instance_id = _claimed(token)
        for patience in (self._seconds, JUST_NOW):
            identity = await self._look(instance_id, patience)
            if identity is not None and _counts(token, identity):
                return Guest(identity.instance_id, identity.generation)
        raise stranger()

    async def _look(self, instance_id: UUID, patience: float) -> GuestIdentity | None:
        seen = self._seen.get(instance_id)
        if seen is None or time.monotonic() - seen.at > patience:
            known = seen is not None and seen.identity is not None
            async with self._about_guests if known else self._about_strangers:
                await self._ask([instance_id])
            seen = self._seen.get(instance_id)
        if seen is None or time.monotonic() - seen.at > BELIEVED:
            raise away("the records do not answer")
        return seen.identity

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
            self._seen[each] = Seen(found.get(each), now)
            self._seen.move_to_end(each)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)

    async def gone(self, guests: Collection[UUID]) -> list[UUID]:
        """Look up all who have a poll open, in one question; return those who are nobody any more."""
        known = {each: seen.identity for each in guests if (seen := self._seen.get(each)) is not None}
        await self._ask(guests)
        return [each for each in guests if self._changed(each, known.get(each))]

    def _changed(self, instance_id: UUID, before: GuestIdentity | None) -> bool:
        seen = self._seen.get(instance_id)
        now = seen.identity if seen is not None else None
        return now is None or (before is not None and before.generation != now.generation)


def _claimed(token: str) -> UUID:
    instance_id, dot, _ = token.partition(".")
    try:
        return UUID(instance_id if dot and len(token) <= MAX_TOKEN else "")
    except ValueError:
        raise stranger() from None


def _counts(token: str, identity: GuestIdentity) -> bool:
    said = hashlib.sha256(token.encode()).hexdigest()
    return any(hmac.compare_digest(said, each) for each in identity.hashes)
