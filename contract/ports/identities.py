"""Who guests are: the records' side of enrolment. Tokens come as their SHA-256; nobody but the guest has the token."""

from abc import ABC, abstractmethod
from uuid import UUID

from temporalio import activity

from contract.domain.fact import Fact


class GuestExpectation(Fact):
    """A server is about to be built for this instance, by this operation; `attempt` counts those of one operation."""

    instance_id: UUID
    operation_id: UUID
    fence: int
    attempt: int = 1


class EnrolmentNote(Fact):
    """Somebody holds the ticket of a generation; `peer` is where it came from, for the report of a second one."""

    instance_id: UUID
    generation: int
    token_hash: str
    peer: str = ""


class TokenChange(Fact):
    """A guest changes its token."""

    instance_id: UUID
    generation: int
    old_hash: str
    token_hash: str


class TokenUse(Fact):
    """A guest has made its first call with the token that it enrolled with."""

    instance_id: UUID
    generation: int
    token_hash: str


class Identities(ABC):
    """Opening, spending and revoking what guests are known by."""

    @abstractmethod
    @activity.defn
    async def expect_guest(self, expectation: GuestExpectation) -> int:
        """Open one enrolment, for the boot time, and revoke what the instance's older guest is known by.

        Return the generation; asked again for the same attempt of the same operation, the same one.
        """

    @abstractmethod
    @activity.defn
    async def enrol_guest(self, note: EnrolmentNote) -> None:
        """Spend the enrolment on this token. The same token again is content until it is used: an answer was lost.

        NotFound when nobody is expected (any more). AlreadyExists, which is reported, for another token and for one that
        was used already.
        """

    @abstractmethod
    @activity.defn
    async def note_first_use(self, use: TokenUse) -> None:
        """End the ticket: its token has arrived where it should. A repeat changes nothing."""

    @abstractmethod
    @activity.defn
    async def change_token(self, change: TokenChange) -> None:
        """Take the new token; the old one counts for some minutes more. NotFound when the old one does not count."""

    @abstractmethod
    @activity.defn
    async def revoke_guest(self, instance_id: UUID) -> None:
        """End what the instance's guest is known by; only a new server can enrol again."""
