"""The flavors that databases may have."""

from typing import Any

from openstack.connection import Connection

from contract.domain.instance import Flavor


def offered_flavors(conn: Connection) -> list[Any]:
    """Nova's public flavors, and the private ones that the service's own project was given access to.

    The service user sees all of them; a flavor that is private to some project is not for every tenant to order.
    """
    return [each for each in conn.compute.flavors(is_public="None") if each.is_public or _has_access(conn, each)]


def _has_access(conn: Connection, flavor: Any) -> bool:
    projects = {each["tenant_id"] for each in conn.compute.get_flavor_access(flavor)}
    return conn.current_project_id in projects


def flavor_of(found: Any) -> Flavor:
    """One of Nova's flavors as a fact."""
    return Flavor(
        id=found.id,
        name=found.name,
        ram_mib=found.ram,
        vcpus=found.vcpus,
        disk_gib=found.disk or 0,
        ephemeral_gib=found.ephemeral or 0,
    )
