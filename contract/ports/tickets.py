"""Tickets to the object store: what a guest may do below one prefix, for a limited time, without an account there.

Every object of an instance is named `<its id>/<backup id>/…`, in both kinds of store. From that follows who gets what:

* A ticket to write is for the caller's own objects alone: its prefix begins with the caller's id. This is checked here.
* A ticket to read may name another instance's objects, for a restore builds a new instance from an older one's backup.
  Whether the caller may have that backup (it is of the same project, it is complete) only the records know: the runbook's
  admission checks it. Here it is checked that the prefix is inside one instance's objects.
* A prefix has two parts at least. A ticket for all that an instance ever stored does not exist, so a stolen guest can
  spoil the backup that it is making, and none that was made before.
"""

import hashlib
import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import ConfigDict, Field
from temporalio import activity

from contract.domain.accounts import Sealed
from contract.domain.errors import BadRequest
from contract.domain.fact import Fact

SHORTEST, LONGEST = 900, 43_200  # seconds: less or more no STS grants, so neither store promises it
LONGEST_PREFIX = 512
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # no wildcard of a policy, nothing to be escaped in a URL, neither . nor ..
_PREFIX = re.compile(rf"([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})/(?:{_PART}/)+")


class Right(StrEnum):
    """Reading is getting objects; writing is putting them, and deleting what an earlier attempt left. Neither has both."""

    READ = "read"
    WRITE = "write"


class TicketOrder(Fact):
    """A ticket for `instance_id`, whose guest alone can open it."""

    instance_id: UUID
    prefix: str
    right: Right
    seconds: int = 3600

    def owner(self) -> UUID:
        """Return whose objects these are; BadRequest when there cannot be such a ticket."""
        found = _PREFIX.fullmatch(self.prefix)
        if found is None or len(self.prefix) > LONGEST_PREFIX:
            raise BadRequest(f"{self.prefix!r} is no prefix of objects: it is <instance id>/<backup id>/, or deeper")
        if not SHORTEST <= self.seconds <= LONGEST:
            raise BadRequest(f"a ticket is good for {SHORTEST} to {LONGEST} seconds, not for {self.seconds}")
        owner = UUID(found[1])
        if self.right is Right.WRITE and owner != self.instance_id:
            raise BadRequest(f"instance {self.instance_id} may not write to objects of {owner}")
        return owner


class Ticket(Fact):
    """A ticket as it travels. `opens` is a `TicketContent`, sealed for the guest; the rest is no secret."""

    prefix: str
    right: Right
    expires: datetime
    opens: Sealed


class SwiftAccess(Fact):
    """Signatures of Swift's TempURL, one for each method that the right has."""

    kind: Literal["swift"] = "swift"
    container_url: str
    expires: int
    signatures: dict[str, str] = Field(repr=False)

    @classmethod
    def signed(cls, container_url: str, path: str, key: str, *, methods: Iterable[str], expires: int) -> "SwiftAccess":
        """Sign for these methods and all objects whose path begins so; `container_url`: as guests reach it."""
        signatures = {each: temp_url_signature(key, each, expires, path) for each in methods}
        return cls(container_url=container_url, expires=expires, signatures=signatures)


def temp_url_signature(key: str, method: str, expires: int, path: str) -> str:
    """Sign for one method and all of Swift's objects whose path begins so."""
    return hmac.new(key.encode(), f"{method}\n{expires}\nprefix:{path}".encode(), hashlib.sha256).hexdigest()


def account_in(url: str) -> str:
    """The name of a Swift account in its URL; empty where it names none."""
    name = urlsplit(url).path.rpartition("/")[2]
    return "" if name == "v1" else name


def for_guests(url: str, elsewhere: str) -> str:
    """An account's URL as guests reach it: `elsewhere` is another scheme, host and port, or empty."""
    return elsewhere.rstrip("/") + urlsplit(url).path if elsewhere else url


def container_key_name(account_url: str, container: str, epoch: int) -> str:
    """What the key for temporary URLs of a container in a tenant's project is derived by."""
    return f"c:container:{account_url.rpartition('/')[2]}/{container}:{epoch}"


class S3Access(Fact):
    """Temporary credentials of S3, which reach nothing but the prefix."""

    kind: Literal["s3"] = "s3"
    endpoint: str
    region: str
    bucket: str
    access_key: str = Field(repr=False)
    secret_key: str = Field(repr=False)
    session_token: str = Field(repr=False)


class TicketContent(Fact):
    """What a guest opens the store with. `ca` is the one certificate to trust, in PEM; empty: the system's."""

    model_config = ConfigDict(hide_input_in_errors=True)

    prefix: str
    store: Annotated[SwiftAccess | S3Access, Field(discriminator="kind")]
    ca: str = ""


class KeyRotation(Fact):
    """A new key for an instance's tickets. `name` tells one rotation from the next: the same one twice is done once."""

    instance_id: UUID
    name: str
    revoke: bool = False


class Tickets(ABC):
    """Issuing and withdrawing tickets."""

    @abstractmethod
    @activity.defn
    def issue_ticket(self, order: TicketOrder) -> Ticket:
        """Return a ticket; the place that it is for is made when it is not there. BadRequest when the order is wrong."""

    @abstractmethod
    @activity.defn
    def rotate_ticket_key(self, rotation: KeyRotation) -> None:
        """Sign the tickets for an instance's objects with a new key from now on.

        Tickets of the key before stay good until the next rotation; with `revoke`, none that was issued stays good.
        Unsupported where tickets cannot be withdrawn but only run out.
        """
