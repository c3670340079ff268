"""What a guest knows of itself when it boots."""

from uuid import UUID

from pydantic import Field

from workflows.domain.fact import Fact

BOOT_FILE = "/etc/coffer/guest.json"


class GuestBoot(Fact):
    """The file that user data writes in a new server.

    `payload_key` is base64 of the guest's own key. Nova's user data stays readable for as long as the server lives;
    until guests enrol at a gateway, whoever reads it can speak as this guest.
    """

    instance_id: UUID
    gateway: str
    namespace: str
    payload_key: str = Field(repr=False)
    datastore: str
    version: str
    generation: int = 1
