"""What carries our tag in the service project, and what OpenStack offers: for the sweeps."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from activities.openstack.connection import Connections, instance_of
from activities.openstack.errors import translated
from activities.openstack.flavors import flavor_of, offered_flavors


@dataclass(frozen=True)
class Leftover:
    """One resource and the instance that its name says it belongs to. `kind`: server, volume, port, group, …"""

    kind: str
    id: str
    instance_id: str


class Leftovers:
    """Lists and deletes by name; only the service project's own are seen."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @translated("list what carries our tag")
    def list_tagged(self) -> list[Leftover]:
        """Return all resources whose name is one of ours."""
        return list(self._tagged())

    def _tagged(self) -> Iterator[Leftover]:
        conn = self._connections.get()
        project = conn.current_project_id
        kinds = {
            "server": conn.compute.servers(details=True),
            "volume": conn.block_storage.volumes(details=True),
            "floating ip": conn.network.ips(project_id=project),
            "port": conn.network.ports(project_id=project),
            "security group": conn.network.security_groups(project_id=project),
            "server group": conn.compute.server_groups(),
        }
        for kind, found in kinds.items():
            for each in found:
                tag = (each.description if kind == "floating ip" else each.name) or ""  # floating IPs have no name
                if (instance_id := instance_of(tag)) is not None:
                    yield Leftover(kind, each.id, instance_id)

    def delete_leftover(self, leftover: Leftover) -> None:
        """Ask for one resource to be deleted; no error if it is gone."""
        conn = self._connections.get()
        delete = {
            "server": conn.compute.delete_server,
            "volume": conn.block_storage.delete_volume,
            "floating ip": conn.network.delete_ip,
            "port": conn.network.delete_port,
            "security group": conn.network.delete_security_group,
            "server group": conn.compute.delete_server_group,
        }[leftover.kind]
        with translated(f"delete the {leftover.kind} {leftover.id}"):
            delete(leftover.id, ignore_missing=True)

    @translated("list the flavors")
    def list_flavors(self) -> list[dict[str, Any]]:
        """Return Nova's flavors as the records keep them."""
        return [flavor_of(each).model_dump() for each in offered_flavors(self._connections.get())]

    @translated("list the volume types")
    def list_volume_types(self) -> list[dict[str, Any]]:
        """Return Cinder's volume types as the records keep them."""
        return [
            {"id": each.id, "name": each.name, "is_public": bool(each.is_public), "description": each.description}
            for each in self._connections.get().block_storage.types()
        ]
