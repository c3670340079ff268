"""What a guest knows of itself when it boots, and how it becomes known."""

from uuid import UUID

from pydantic import Field

from contract.domain.fact import Fact

BOOT_FILE = "/etc/coffer/guest.json"


class GuestBoot(Fact):
    """The file that user data writes in a new server.

    Nova's user data stays readable for as long as the server lives. So what it carries is worthless afterwards: the
    ticket is good for one enrolment of this generation, until its token is first used and within the boot time. `ca` is
    PEM, and no secret.
    """

    instance_id: UUID
    gateway: str
    namespace: str
    datastore: str
    version: str
    generation: int = 1
    ca: str = ""
    ticket: str = Field("", repr=False)


class Enrolment(Fact):
    """A guest's first request at the gateway: the ticket of its boot file. The token it has made is the call's bearer token.

    The token itself, not its hash: the hash can be read in the records and in Temporal's histories, so it proves nothing.
    """

    instance_id: UUID
    generation: int
    ticket: str = Field(repr=False, max_length=200)


class Renewal(Fact):
    """The token that a guest will use from now on; the call's bearer token is the one that it uses now."""

    token: str = Field(repr=False, max_length=200)


class Credentials(Fact):
    """What a guest is given: its payload keys by epoch (base64), the one that seals, and whom to trust (PEM)."""

    keys: dict[int, str] = Field(repr=False)
    current: int
    ca: str = ""
