"""Changes of the catalogue of datastores and versions that administrators ask for."""

from uuid import UUID

from contract.domain.fact import Fact


class NewVersion(Fact):
    """A version to add; its datastore is made where there is none of the name. The image by id, or the newest with all tags."""

    id: UUID
    datastore: str
    name: str
    number: str
    manager: str
    image: str = ""
    image_tags: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    active: bool = True
    default: bool = False


class VersionChange(Fact):
    """What is to be different of a version; None leaves it as it is."""

    id: UUID
    name: str | None = None
    manager: str | None = None
    image: str | None = None
    image_tags: tuple[str, ...] | None = None
    packages: tuple[str, ...] | None = None
    active: bool | None = None
    default: bool | None = None


class CatalogueEntry(Fact):
    """A version or a datastore that is to be removed."""

    id: UUID


class ImageRequest(Fact):
    """An image by Glance's id, else the newest that has all of the tags."""

    image: str = ""
    image_tags: tuple[str, ...] = ()
