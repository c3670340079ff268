"""Datastores, versions, flavors, volume types and limits."""

from api.answers.base import Answer, Link


class Version(Answer):
    """A datastore version; the members with a default are for administrators."""

    id: str
    name: str
    version: str
    links: list[Link]
    datastore: str
    active: bool = True
    packages: str = ""
    image: str | None = None
    image_tags: list[str] | None = None
    registry_ext: str = ""
    repl_strategy: str = ""


class Datastore(Answer):
    """A datastore with its versions."""

    id: str
    name: str
    links: list[Link]
    versions: list[Version]
    default_version: str = ""


class Flavor(Answer):
    """A flavor; `id` is null where Nova's id is no number."""

    id: int | None
    str_id: str
    links: list[Link]
    name: str
    ram: int
    vcpus: int
    disk: int
    ephemeral: int


class VolumeType(Answer):
    """A volume type of Cinder."""

    id: str
    name: str
    is_public: bool
    description: str | None


class Datastores(Answer):
    """All datastores."""

    datastores: list[Datastore]


class OneDatastore(Answer):
    """A datastore."""

    datastore: Datastore


class DatastoreVersions(Answer):
    """A datastore's versions."""

    versions: list[Version]


class OneDatastoreVersion(Answer):
    """A datastore version."""

    version: Version


class Flavors(Answer):
    """All flavors."""

    flavors: list[Flavor]


class OneFlavor(Answer):
    """A flavor."""

    flavor: Flavor


class VolumeTypes(Answer):
    """All volume types."""

    volume_types: list[VolumeType]
