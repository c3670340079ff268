"""Connections to OpenStack as the service user."""

import threading
from uuid import UUID

import openstack
from openstack.connection import Connection

from contract.domain.resources import MAIN, Part

PREFIX = "coffer-"  # of every name; what follows is the instance's id


def name_of(instance_id: UUID | str) -> str:
    """The name of everything that an instance has one of: how it is found again after a lost answer."""
    return f"{PREFIX}{instance_id}"


def name_of_part(part: Part) -> str:
    """The name of a resource by role and generation; the first one in the main role has the instance's."""
    name = name_of(part.instance_id)
    return name if (part.role, part.generation) == (MAIN, 1) else f"{name}-{part.role}-{part.generation}"


def instance_of(name: str) -> str | None:
    """The id of the instance that a name of ours tells; None for other names."""
    return name[len(PREFIX) :][:36] if name.startswith(PREFIX) else None


class Connections:
    """One connection per thread: openstacksdk does not promise that one may be shared."""

    def __init__(self, cloud: str, timeout: float) -> None:
        self._cloud = cloud
        self._timeout = timeout
        self._local = threading.local()

    def get(self) -> Connection:
        """Return this thread's connection; each request on it is given up after the timeout, and never repeated."""
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = openstack.connect(cloud=self._cloud, api_timeout=self._timeout, app_name="coffer")
            self._local.connection = found
        return found
