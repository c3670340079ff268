"""`coffer.gateway.v1.Identity`: how a guest becomes known (Enrol), changes its token (Renew), and gets its keys (Keys).

Messages are JSON: `Enrolment`, `Renewal` and `Credentials` of `contract.domain.guest`. Only activities write the
records, so each change is a standalone activity; what it carries is no secret.
"""

import asyncio
import base64
import hashlib
import logging
from collections import OrderedDict
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from temporalio.client import ActivityFailureError, Client
from temporalio.common import ActivityIDConflictPolicy, RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from contract.domain.errors import innermost
from contract.domain.guest import Credentials, Enrolment, Renewal
from contract.keys.enrolment import hash_of_token, is_ticket, is_token
from contract.keys.keyring import GuestsKeyring
from contract.names import RECORDS
from contract.ports.identities import EnrolmentNote, Identities, TokenChange, TokenUse
from gateway.denied import Denied, away, forbidden, garbled, stranger, too_much
from gateway.guest import Guest
from gateway.token_bucket import TokenBucket

SECONDS = timedelta(seconds=8)
MAX_BODY = 4096
CHANGES_PER_SECOND = 2.0  # with a good ticket or token, of one instance: each is work for the control plane
KEPT = 10_000
PAUSE = 2.0  # seconds until a first call is noted again, where that failed
ATTEMPTS = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_attempts=3)

Asked = TypeVar("Asked", bound=BaseModel)
log = logging.getLogger(__name__)


class IdentityService:
    """Hands out keys, to those that may have them."""

    def __init__(self, client: Client, keyring: GuestsKeyring, ca: Path) -> None:
        self._client = client
        self._keyring = keyring
        self._ca = ca
        self._noting: OrderedDict[Guest, asyncio.Task[None]] = OrderedDict()
        self._changes: OrderedDict[tuple[str, UUID], TokenBucket] = OrderedDict()

    async def enrol(self, token: str, body: bytes, peer: str) -> bytes:
        """Spend a ticket on the token that the call carries; the same again is answered again until the token is used."""
        asked = _parsed(Enrolment, body)
        if not is_ticket(self._keyring, asked.ticket, asked.instance_id, asked.generation):
            raise stranger("the ticket is not valid")
        _require_token(token, asked.instance_id)
        note = EnrolmentNote(instance_id=asked.instance_id, generation=asked.generation,
                             token_hash=hash_of_token(token), peer=peer)  # fmt: skip
        await self._record(Identities.enrol_guest, note, "enrol")
        log.info("guest %s of generation %s has enrolled from %s", asked.instance_id, asked.generation, peer)
        return self._credentials(asked.instance_id)

    async def renew(self, guest: Guest, token: str, body: bytes) -> bytes:
        """Take another token for a guest that speaks with the one it has."""
        asked = _parsed(Renewal, body)
        _require_token(asked.token, guest.instance_id)
        change = TokenChange(instance_id=guest.instance_id, generation=guest.generation, old_hash=hash_of_token(token),
                             token_hash=hash_of_token(asked.token))  # fmt: skip
        await self._record(Identities.change_token, change, "renew")
        return self._credentials(guest.instance_id)

    def note_use(self, guest: Guest, token: str) -> None:
        """Have the records end the ticket that this token was enrolled with. Until they have, each call asks again."""
        if guest not in self._noting:
            self._noting[guest] = asyncio.create_task(self._note_use(guest, hash_of_token(token)))
        while len(self._noting) > KEPT:
            self._noting.popitem(last=False)

    async def _note_use(self, guest: Guest, token_hash: str) -> None:
        use = TokenUse(instance_id=guest.instance_id, generation=guest.generation, token_hash=token_hash)
        try:
            await self._record(Identities.note_first_use, use, "use")
        except Denied as denied:
            log.warning("the first call of guest %s could not be noted: %s", guest.instance_id, denied.text)
            await asyncio.sleep(PAUSE)
            self._noting.pop(guest, None)

    async def keys(self, guest: Guest) -> bytes:
        """The guest's own keys, as they are now."""
        return self._credentials(guest.instance_id)

    def _credentials(self, instance_id: UUID) -> bytes:
        ring = self._keyring.of_guest(instance_id)
        keys = {epoch: base64.b64encode(key).decode() for epoch, key in ring.secrets.items()}
        return Credentials(keys=keys, current=ring.current, ca=self._ca.read_text()).model_dump_json().encode()

    def _count(self, why: str, instance_id: UUID) -> None:
        """Denied beyond the rate; who has the ticket of a guest's user data does not use up the guest's renewals."""
        bucket = self._changes.setdefault((why, instance_id), TokenBucket(CHANGES_PER_SECOND, 2 * CHANGES_PER_SECOND))
        self._changes.move_to_end((why, instance_id))
        while len(self._changes) > KEPT:
            self._changes.popitem(last=False)
        if not bucket.take():
            raise too_much("too many enrolments or renewals")

    async def _record(self, verb: Any, note: EnrolmentNote | TokenChange | TokenUse, why: str) -> None:
        """Have the records take it; denied for good where they refuse, for now where nobody answers.

        The same question, asked again meanwhile, is the same activity.
        """
        self._count(why, note.instance_id)
        said = note.model_dump_json(exclude={"peer"}).encode()
        activity_id = f"{why}/{note.instance_id}/{hashlib.sha256(said).hexdigest()[:32]}"
        try:
            handle = await self._client.start_activity(
                verb.__name__,
                note,
                id=activity_id,
                task_queue=RECORDS,
                result_type=RawValue,
                schedule_to_close_timeout=SECONDS,
                start_to_close_timeout=SECONDS,
                retry_policy=ATTEMPTS,
                id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING,
                summary=f"{verb.__name__} {note.instance_id}",
            )
            await asyncio.wait_for(handle.result(), SECONDS.total_seconds() + 1)
        except ActivityFailureError as error:
            cause = innermost(error.cause)
            if isinstance(cause, ApplicationError) and cause.non_retryable:
                raise forbidden("this enrolment or token does not count") from None
            raise away("the records do not answer") from None
        except (RPCError, TimeoutError):
            raise away("the records do not answer") from None


def _require_token(token: str, instance_id: UUID) -> None:
    if not is_token(token, instance_id):
        raise garbled("this is no token for this instance")


def _parsed(shape: type[Asked], body: bytes) -> Asked:
    if len(body) > MAX_BODY:
        raise garbled("the request is too large")
    try:
        return shape.model_validate_json(body)
    except (ValidationError, RecursionError):
        raise garbled(f"this is no {shape.__name__}") from None
