"""How long a database cannot be written to while it is operated on; and that nothing acknowledged is lost by it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.client import Client, Token, Unexpected, find_image
from benchmarks.engines import ENGINES
from benchmarks.instances import Instances
from benchmarks.report import Row
from benchmarks.writer import Writer

BEFORE, AFTER = 50, 20  # inserts
NUMBER = 9  # of the instance's name
DONE = (200, 202)
Request = tuple[str, str, Mapping[str, Any]]  # method, path below the instance, body
# what is asked of one instance after the other, by the kind of the operation
OPERATIONS: Mapping[str, Request] = {
    "restart": ("POST", "/action", {"restart": {}}),
    "resize_flavor": ("POST", "/action", {"resize": {"flavorRef": "2"}}),
    "resize_volume": ("POST", "/action", {"resize": {"volume": {"size": 2}}}),
    "change_tls": ("POST", "/ssl", {"ssl": {"enable": True, "mode": "basic"}}),
}
BY_ADMINISTRATORS: Mapping[str, Request] = {"reboot": ("POST", "/action", {"reboot": {}})}
SETTINGS = {"mariadb": {"max_connections": 80}, "postgresql": {"work_mem": 8192}}  # what changes while the engine runs


@dataclass(frozen=True)
class Asking:
    """A plain user and an administrator, and an instance of the former."""

    owner: Client
    administrator: Client
    token: Token
    instances: Instances

    def measure(self) -> list[Row]:
        """Rows of each engine."""
        return [row for datastore in ENGINES for row in self._of_engine(datastore)]

    def _of_engine(self, datastore: str) -> list[Row]:
        instance_id, _ = self.instances.order(datastore, NUMBER)
        self.instances.wait(instance_id, healthy=True)
        path = f"/instances/{instance_id}"
        user = {"name": "amy", "password": "measured", "databases": [{"name": "app"}]}
        self.owner.ask("POST", f"{path}/databases", {"databases": [{"name": "app"}]}, expect=(202,))
        self.owner.ask("POST", f"{path}/users", {"users": [user]}, expect=(202,))
        found = self.owner.get(path).json()["instance"]
        rows = []
        with Writer(datastore, found["ip"][0], "amy", "measured", "app") as writer:
            for kind, ask in self._operations(path, found["datastore"]):
                writer.wait_for(BEFORE)
                writer.reset()
                ask()
                self.instances.wait_for_end(instance_id)
                writer.wait_for(AFTER)
                _require_all(writer, kind)
                rows.append(Row(f"interruption by {kind}, {datastore}", f"{writer.longest:.2f} s, no write lost"))
        self.instances.delete(instance_id)
        return rows

    def _operations(self, path: str, version: Mapping[str, str]) -> Iterable[tuple[str, Callable[[], Any]]]:
        """The operations in turn, and how each is asked for."""
        for kind, (method, below, body) in OPERATIONS.items():
            yield kind, lambda: self.owner.ask(method, path + below, body, expect=DONE)  # noqa: B023 - called at once
        yield from self._reconfigurations(path, version)
        for kind, (method, below, body) in BY_ADMINISTRATORS.items():
            yield kind, lambda: self.administrator.ask(method, f"/mgmt{path}{below}", body, expect=(202,))  # noqa: B023
        again = {"instance": {"datastore_version": version["version"]}}
        yield "upgrade", lambda: self.owner.ask("PATCH", path, again, expect=(202,))
        image = {"rebuild": {"image_id": find_image(self.token, f"{version['type']}-{version['version']}")}}
        yield "rebuild", lambda: self.administrator.ask("POST", f"/mgmt{path}/action", image, expect=(202,))

    def _reconfigurations(self, path: str, version: Mapping[str, str]) -> Iterable[tuple[str, Callable[[], Any]]]:
        """A configuration group is attached, and is gone afterwards."""
        name = {"type": version["type"], "version": version["version"]}
        group = {"name": "measured", "values": SETTINGS[version["type"]], "datastore": name}
        made = self.owner.ask("POST", "/configurations", {"configuration": group}, expect=(200,))
        group_id = made.json()["configuration"]["id"]
        try:
            for kind, wanted in (("attach configuration", group_id), ("detach configuration", None)):
                body = {"instance": {"configuration": wanted}}
                yield kind, lambda: self.owner.ask("PUT", path, body, expect=(202,))  # noqa: B023
        finally:
            self.owner.ask("DELETE", f"/configurations/{group_id}", expect=(202,))


def _require_all(writer: Writer, kind: str) -> None:
    acknowledged = set(writer.acknowledged)
    if lost := acknowledged - set(writer.stored()):
        raise Unexpected(f"{kind} lost {len(lost)} of {len(acknowledged)} acknowledged writes")
