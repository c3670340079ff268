"""Swift's containers and the keys of their temporary URLs.

A container has two keys, so that one can follow the other; beside them stands the name of the first, from which it can
be derived again. Keys travel as headers, which keystoneauth would write to its debug log: every request here is made
without that log.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from openstack import exceptions as said

from activities.openstack.connection import Connections
from activities.openstack.errors import translated

_META = "X-Container-Meta-"
_KEY, _KEY_BEFORE = f"{_META}Temp-URL-Key", f"{_META}Temp-URL-Key-2"
_NAME = f"{_META}Coffer-Key"


@dataclass(frozen=True)
class ContainerKeys:
    """What a container has: the name of its key, and the key, to be compared and never shown."""

    name: str
    key: str

    def __repr__(self) -> str:
        return f"ContainerKeys({self.name!r})"


class SwiftContainers:
    """Containers of the service project."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @translated("find the object store")
    def endpoint(self) -> str:
        """Return the account's URL, as Keystone's catalogue tells it."""
        return str(self._connections.get().object_store.get_endpoint()).rstrip("/")

    @translated("look at the container")
    def find_keys(self, container: str) -> ContainerKeys | None:
        """Return what the container has, or None if there is no container."""
        try:
            found = self._ask("HEAD", container, {}).headers
        except said.NotFoundException:
            return None
        return ContainerKeys(found.get(_NAME, ""), found.get(_KEY, ""))

    @translated("prepare the container")
    def put_keys(self, container: str, keys: ContainerKeys, before: str = "") -> None:
        """Make the container if it is missing, and set both keys in one request; an empty one is removed."""
        self._ask("PUT", container, {_NAME: keys.name, _KEY: keys.key, _KEY_BEFORE: before})

    def _ask(self, method: str, container: str, headers: dict[str, str]) -> Any:
        store = self._connections.get().object_store
        answer = store.request(f"/{quote(container)}", method, headers=headers, log=False)
        said.raise_from_response(answer)
        return answer
