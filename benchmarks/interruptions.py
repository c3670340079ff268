"""How long a database cannot be written to while it is operated on; and that nothing acknowledged is lost by it."""

from collections.abc import Mapping
from typing import Any

from benchmarks.client import Client, Unexpected
from benchmarks.engines import ENGINES
from benchmarks.instances import Instances
from benchmarks.report import Row
from benchmarks.writer import Writer

BEFORE, AFTER = 50, 20  # inserts
NUMBER = 9  # of the instance's name
# what is asked of one instance after the other, by the kind of the operation: method, path below the instance, body
OPERATIONS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "restart": ("POST", "/action", {"restart": {}}),
    "resize_flavor": ("POST", "/action", {"resize": {"flavorRef": "2"}}),
    "resize_volume": ("POST", "/action", {"resize": {"volume": {"size": 2}}}),
}


def measure(client: Client, instances: Instances) -> list[Row]:
    """Rows of each engine."""
    return [row for datastore in ENGINES for row in _of_engine(client, instances, datastore)]


def _of_engine(client: Client, instances: Instances, datastore: str) -> list[Row]:
    instance_id, _ = instances.order(datastore, NUMBER)
    instances.wait(instance_id, healthy=True)
    path = f"/instances/{instance_id}"
    user = {"name": "amy", "password": "measured", "databases": [{"name": "app"}]}
    client.ask("POST", f"{path}/databases", {"databases": [{"name": "app"}]}, expect=(202,))
    client.ask("POST", f"{path}/users", {"users": [user]}, expect=(202,))
    address = client.get(path).json()["instance"]["ip"][0]
    rows = []
    with Writer(datastore, address, "amy", "measured", "app") as writer:
        for kind, (method, below, body) in OPERATIONS.items():
            writer.wait_for(BEFORE)
            writer.reset()
            client.ask(method, path + below, body, expect=(202,))
            instances.wait(instance_id, healthy=True)
            writer.wait_for(AFTER)
            _require_all(writer, kind)
            rows.append(Row(f"interruption by {kind}, {datastore}", f"{writer.longest:.2f} s, no write lost"))
    instances.delete(instance_id)
    return rows


def _require_all(writer: Writer, kind: str) -> None:
    acknowledged = set(writer.acknowledged)
    if lost := acknowledged - set(writer.stored()):
        raise Unexpected(f"{kind} lost {len(lost)} of {len(acknowledged)} acknowledged writes")
