"""Images, and putting a server on another one, as runbooks ask for it; see `cloud` for what holds of every verb."""

from abc import ABC, abstractmethod
from uuid import UUID

from temporalio import activity

from contract.domain.fact import Fact
from contract.domain.instance import DatastoreVersion
from contract.ports.waits import waits


class ImageChoice(Fact):
    """An image by id or name; None: the one that the version has now."""

    version: DatastoreVersion
    image: str | None = None


class Reimage(Fact):
    """Which server is to be on which image, with a guest of which generation."""

    instance_id: UUID
    server_id: str
    image_id: str
    manager: str
    datastore_version: str
    generation: int


class Images(ABC):
    """Glance's images, and Nova's rebuild: a new root disk; ports and volumes stay."""

    @abstractmethod
    @activity.defn
    def choose_image(self, request: ImageChoice) -> str:
        """Return its id; BadRequest when there is none, or it is not of this datastore version."""

    @waits()
    @abstractmethod
    @activity.defn
    def get_image_of(self, server_id: str) -> str:
        """Wait until nothing is done to the server, and return the id of the image that it is on."""

    @waits()
    @abstractmethod
    @activity.defn
    def rebuild_server(self, order: Reimage) -> None:
        """Begin to put the server on the image, as soon as nothing else is done to it; once for each generation."""

    @waits()
    @abstractmethod
    @activity.defn
    def require_server_rebuilt(self, order: Reimage) -> None:
        """Wait until the server runs on the image."""
