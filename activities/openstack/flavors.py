"""The flavors that databases may have."""

from typing import Any

from openstack.connection import Connection


def offered_flavors(conn: Connection) -> list[Any]:
    """Nova's public flavors, and the private ones that the service's own project was given access to.

    The service user sees all of them; a flavor that is private to some project is not for every tenant to order.
    """
    return [each for each in conn.compute.flavors(is_public="None") if each.is_public or _has_access(conn, each)]


def _has_access(conn: Connection, flavor: Any) -> bool:
    projects = {each["tenant_id"] for each in conn.compute.get_flavor_access(flavor)}
    return conn.current_project_id in projects
