"""Connections to OpenStack as the service user."""

import threading
from uuid import UUID

import openstack
from openstack.connection import Connection

PREFIX = "coffer-"  # of every name; what follows is the instance's id


def name_of(instance_id: UUID | str) -> str:
    """The name of everything that belongs to an instance: how it is found again after a lost answer."""
    return f"{PREFIX}{instance_id}"


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
