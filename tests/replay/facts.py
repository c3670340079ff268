"""The instance that recordings are of."""

from uuid import UUID

from contract.domain.instance import DatastoreVersion, Flavor, InstanceFacts, InstanceStatus
from contract.domain.resources import Resource, ResourceKind

VERSION = DatastoreVersion(id=UUID(int=15), name="15", number="15", datastore_id=UUID(int=1), datastore="postgresql",
                           manager="postgresql", image="postgresql-15")  # fmt: skip
FLAVOR = Flavor(id="1", name="m1.tiny", ram_mib=512, vcpus=1)


def facts_of(instance_id: UUID, group_id: UUID, status: InstanceStatus) -> InstanceFacts:
    """An instance with a server and a volume."""
    return InstanceFacts(
        id=instance_id,
        group_id=group_id,
        project_id="project",
        name="db",
        version=VERSION,
        flavor=FLAVOR,
        volume_gib=1,
        status=status,
        resources=(
            Resource(kind=ResourceKind.SERVER, id="server"),
            Resource(kind=ResourceKind.VOLUME, id="volume"),
            Resource(kind=ResourceKind.PORT, id="port"),
        ),
    )
