"""The instance that recordings are of."""

from uuid import UUID

from contract.domain.instance import DatastoreVersion, Flavor, InstanceFacts, InstanceStatus
from contract.domain.resources import Resource, ResourceKind

VERSION = DatastoreVersion(id=UUID(int=15), name="15", number="15", datastore_id=UUID(int=1), datastore="postgresql",
                           manager="postgresql", image="postgresql-15")  # fmt: skip
SERIES = tuple(
    DatastoreVersion(id=UUID(int=number), name=name, number=name, datastore_id=UUID(int=2), datastore="mariadb",
                     manager="mariadb", image=f"mariadb-{name}")
    for number, name in ((10, "10.11"), (11, "11.8"))
)  # fmt: skip
FLAVOR = Flavor(id="1", name="m1.tiny", ram_mib=512, vcpus=1)


def facts_of(
    instance_id: UUID, group_id: UUID, status: InstanceStatus, version: DatastoreVersion = VERSION
) -> InstanceFacts:
    """An instance with a server and a volume."""
    return InstanceFacts(
        id=instance_id,
        group_id=group_id,
        project_id="project",
        name="db",
        version=version,
        flavor=FLAVOR,
        volume_gib=1,
        status=status,
        resources=(
            Resource(kind=ResourceKind.SERVER, id="server"),
            Resource(kind=ResourceKind.VOLUME, id="volume"),
            Resource(kind=ResourceKind.PORT, id="port"),
        ),
    )
