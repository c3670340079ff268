"""What a guest knows of itself when it boots, and how it becomes known."""

from uuid import UUID

from pydantic import Field

from workflows.domain.fact import Fact

BOOT_FILE = "/etc/coffer/guest.json"


class GuestBoot(Fact):
    """The file that user data writes in a new server.

    Nova's user data stays readable for as long as the server lives. So what it carries is worthless afterwards: the
    ticket is good for one enrolment of this generation, within the boot time. `ca` is PEM, and no secret.
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
    """A guest's first word at the gateway: the ticket of its boot file, and the SHA-256 of the token it has made."""

    instance_id: UUID
    generation: int
    ticket: str = Field(repr=False, max_length=200)
    token_hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class Renewal(Fact):
    """The SHA-256 of the token that a guest will speak with from now on."""

    token_hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class Credentials(Fact):
    """What a guest is given: its payload keys by epoch (base64), the one that seals, and whom to trust (PEM)."""

    keys: dict[int, str] = Field(repr=False)
    current: int
    ca: str = ""
