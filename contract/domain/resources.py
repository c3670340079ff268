"""What an instance has in OpenStack: each resource by what it is for, and how often it was recreated."""

from enum import StrEnum
from uuid import UUID

from contract.domain.fact import Fact


class ResourceKind(StrEnum):
    """What is named by role and generation; groups and floating IPs are one per instance."""

    SERVER = "server"
    VOLUME = "volume"
    PORT = "port"


MAIN = "main"  # the role of the server that runs the database, of its data volume and of its port


class Resource(Fact):
    """A row of the records; `id` is OpenStack's, None while it is only planned."""

    kind: ResourceKind
    role: str = MAIN
    generation: int = 1
    id: str | None = None


class Part(Fact):
    """Which resource of an instance is meant; its name in OpenStack derives from this."""

    instance_id: UUID
    kind: ResourceKind
    role: str = MAIN
    generation: int = 1

    def found(self, resource_id: str) -> Resource:
        """The row of the resource that was found."""
        return Resource(kind=self.kind, role=self.role, generation=self.generation, id=resource_id)


class Belongings(Fact):
    """All that the records know an instance to have; what is made for a creation may not be among it yet."""

    instance_id: UUID
    resources: tuple[Resource, ...] = ()

    def parts(self, kind: ResourceKind) -> tuple[Part, ...]:
        """Those of a kind, and always the first one."""
        first = Part(instance_id=self.instance_id, kind=kind)
        named = (
            Part(instance_id=self.instance_id, kind=kind, role=each.role, generation=each.generation)
            for each in self.resources
            if each.kind is kind
        )
        return tuple(dict.fromkeys((first, *named)))
