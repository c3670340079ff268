"""The table of steps. Each is one entry, and leaves a database that is healthy and has all its rows."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tests.openstack.lane import DATABASE, USER, Broken, Lane, until


@dataclass(frozen=True)
class Step:
    """One thing that happens to the instance."""

    name: str
    do: Callable[[Lane], None]


def order(lane: Lane) -> None:
    """Order it, with a public address, a database and a user."""
    user = {"name": USER, "password": lane.secret, "databases": [{"name": DATABASE}]}
    wanted = {
        "name": "life", "flavorRef": lane.flavor_id(lane.flavors[0]), "volume": {"size": 1},
        "datastore": {"type": lane.datastore},
        "access": {"is_public": True, "allowed_cidrs": [f"{lane.deployment.site.address}/32"]},
        "databases": [{"name": DATABASE}], "users": [user],
    }  # fmt: skip
    began = time.monotonic()
    lane.instance_id = lane.ask("POST", "/instances", {"instance": wanted})["instance"]["id"]
    lane.notes.append(("of it: the API's answer", time.monotonic() - began))
    lane.until_done()
    server = lane.server
    lane.notes.append(("of it: Nova's own boot, created to launched", _seconds(server.created_at, server.launched_at)))


def use(lane: Lane) -> None:
    """Write and read over TCP; no other port answers; a database and a user more, by the API."""
    lane.write()
    lane.require_data()
    _require_filtered(lane.address, 22)
    lane.ask("POST", f"{lane.path}/databases", {"databases": [{"name": "more"}]})
    lane.ask("POST", f"{lane.path}/users", {"users": [{"name": "eve", "password": lane.secret}]})
    names = {each["name"] for each in lane.ask("GET", f"{lane.path}/databases")["databases"]}
    if names != {DATABASE, "more"}:
        raise Broken(f"the databases are {names}")


def restart(lane: Lane) -> None:
    """As the tenant asks for it."""
    lane.act({"restart": {}})
    lane.until_done()


def take_back(lane: Lane) -> None:
    """A larger flavor, cancelled when Nova is at it: the resize is reverted."""
    lane.act({"resize": {"flavorRef": lane.flavor_id(lane.flavors[1])}})
    until("Nova resizes", lambda: lane.server.status in ("RESIZE", "VERIFY_RESIZE"))
    lane.ask("DELETE", f"{lane.path}/operations/{lane.operation()['id']}")
    lane.until_done("CANCELLED")
    _require_flavor(lane, lane.flavors[0])


def grow(lane: Lane) -> None:
    """A larger flavor, confirmed. All of Coffer ends while Nova is at it; the operation goes on when Coffer is there again."""
    lane.act({"resize": {"flavorRef": lane.flavor_id(lane.flavors[1])}})
    until("Nova resizes", lambda: lane.server.status in ("RESIZE", "VERIFY_RESIZE"))
    lane.stack.down()
    lane.stack.up()
    lane.until_done()
    _require_flavor(lane, lane.flavors[1])


def shrink(lane: Lane) -> None:
    """Back to the first flavor: Nova makes no root disk smaller, and then the database serves on where it was."""
    disks = {each.name: each.disk for each in lane.deployment.admin.compute.flavors()}
    smaller = disks[lane.flavors[0]] < disks[lane.flavors[1]]
    lane.act({"resize": {"flavorRef": lane.flavor_id(lane.flavors[0])}})
    lane.until_done("FAILED" if smaller else "DONE")
    _require_flavor(lane, lane.flavors[1 if smaller else 0])


def reboot(lane: Lane) -> None:
    """Nova reboots the server, and nobody has told Coffer."""
    lane.deployment.admin.compute.reboot_server(lane.server, "HARD")
    until("the watch has noticed", lambda: lane.instance["operating_status"] != "HEALTHY")
    lane.until_healthy()


def stop(lane: Lane) -> None:
    """Nova stops the server: the tenant is told why the database is away. Then it is started again."""
    compute = lane.deployment.admin.compute
    compute.stop_server(lane.server)
    until("the watch has noticed", lambda: lane.instance["operating_status"] == "ERROR")
    until("Nova has stopped it", lambda: lane.server.status == "SHUTOFF")
    compute.start_server(lane.server)
    lane.until_healthy()


def delete(lane: Lane) -> None:
    """As the tenant asks for it."""
    lane.ask("DELETE", lane.path)
    until("gone", lambda: lane.api.get(lane.path).status_code == 404)


LIFE = (
    Step("order", order),
    Step("use over TCP", use),
    Step("restart", restart),
    Step("resize, cancelled and taken back", take_back),
    Step("resize, Coffer stopped and started in the middle", grow),
    Step("resize to a smaller root disk", shrink),
    Step("server rebooted by Nova", reboot),
    Step("server stopped and started by Nova", stop),
    Step("delete", delete),
)
ENDS = ("order", "use over TCP", "delete")  # what every life has


def live(lane: Lane, names: tuple[str, ...]) -> list[tuple[str, float]]:
    """Do the steps of these names, in the table's order; return how long each took. Nothing is left afterwards."""
    took = []
    for step in LIFE:
        if step.name in names or step.name in ENDS:
            began = time.monotonic()
            step.do(lane)
            took.append((step.name, time.monotonic() - began))
            print(f"  ✓ {step.name} ({took[-1][1]:.1f} s)", flush=True)  # noqa: T201
            took += lane.notes
            lane.notes = []
            if lane.written and step.name != "delete":
                lane.require_data()
    left = lane.belongings()
    if left:
        raise Broken(f"left behind: {', '.join(left)}")
    return took


def _require_filtered(address: str, port: int) -> None:
    """Broken unless packets to a port are dropped: nobody listens there, so a server without a filter would refuse at once."""
    try:
        socket.create_connection((address, port), timeout=5).close()
    except TimeoutError:
        return
    except OSError as error:
        raise Broken(f"port {port} of {address} is not filtered: {error}") from error
    raise Broken(f"port {port} of {address} is open")


def _require_flavor(lane: Lane, name: str) -> None:
    """Broken unless Nova and the tenant both see this flavor."""
    seen = (lane.server.flavor.original_name, lane.instance["flavor"]["id"])
    if seen != (name, lane.flavor_id(name)):
        raise Broken(f"the server is on {seen}, and not on {name}")


def _seconds(begin: str, end: str) -> float:
    """Between two moments as Nova writes them: one of them has a zone."""
    moments = [datetime.fromisoformat(each.rstrip("Z")).replace(tzinfo=None) for each in (begin, end)]
    return (moments[1] - moments[0]).total_seconds()
