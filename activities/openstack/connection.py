"""Connections to OpenStack as the service user."""

import threading
from typing import Any
from uuid import UUID

from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion
from openstack.connection import Connection

from contract.domain.resources import MAIN, Part

APP = "coffer"  # as whom openstacksdk names itself
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
    """One connection per thread, for openstacksdk does not promise that one may be shared; all of them share one login."""

    def __init__(self, cloud: str, timeout: float) -> None:
        self._cloud = cloud
        self._timeout = timeout
        self._local = threading.local()
        self._lock = threading.Lock()
        self._region: CloudRegion | None = None
        self._discovered: dict[str, Any] = {}

    def get(self) -> Connection:
        """Return this thread's connection; each request on it is given up after the timeout, and never repeated."""
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = Connection(config=self._configuration())
            self._local.connection = found
        return found

    def _configuration(self) -> CloudRegion:
        """The cloud's, with the login and what was learnt of the services' versions: keystoneauth locks its plugins."""
        with self._lock:
            if self._region is None:
                loader = OpenStackConfig(app_name=APP)
                self._region = loader.get_one(cloud=self._cloud, api_timeout=self._timeout)
        known = self._region
        return CloudRegion(
            name=known.name,
            region_name=known.region_name,
            config=known.config,
            auth_plugin=known.get_auth(),
            discovery_cache=self._discovered,
            app_name=APP,
        )
