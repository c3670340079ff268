"""The table of steps. Each is one entry, and leaves a database that serves with all its rows, unless it says otherwise."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from contract.domain.datastores import DATASTORES
from tests.openstack import changes, power
from tests.openstack.clients import ask_gophercloud, ask_openstacksdk, ask_troveclient
from tests.openstack.lane import DATABASE, USER, Broken, Lane, until


@dataclass(frozen=True)
class Step:
    """One thing that happens to the instance."""

    name: str
    do: Callable[[Lane], None]
    serves: bool = True  # the database, afterwards
    needs: str = ""  # what the plan must say, or the step is left out


def order(lane: Lane) -> None:
    """Order it, with a public address, a database and a user."""
    user = {"name": USER, "password": lane.secret, "databases": [{"name": DATABASE}]}
    wanted = {
        "name": "life", "flavorRef": lane.flavor_id(lane.plan.flavors[0]), "volume": {"size": 1},
        "datastore": {"type": lane.plan.datastore},
        "access": {"is_public": True, "allowed_cidrs": lane.let_in},
        "databases": [{"name": DATABASE}], "users": [user],
    }  # fmt: skip
    if lane.plan.own_network:
        wanted["nics"] = [{"net-id": lane.network_id}]
    began = time.monotonic()
    lane.instance_id = lane.ask("POST", "/instances", {"instance": wanted})["instance"]["id"]
    lane.notes.append(("of it: the API's answer", time.monotonic() - began))
    lane.interrupt("require server active")
    lane.until_done()
    server = lane.server
    lane.notes.append(("of it: Nova's own boot, created to launched", _seconds(server.created_at, server.launched_at)))


def use(lane: Lane) -> None:
    """Write and read over TCP; no other port answers; a database and a user more, by the API."""
    lane.write()
    lane.require_data()
    if lane.opens(22):
        raise Broken(f"port 22 of {lane.address} is open")
    lane.ask("POST", f"{lane.path}/databases", {"databases": [{"name": "more"}]})
    lane.ask("POST", f"{lane.path}/users", {"users": [{"name": "eve", "password": lane.secret}]})
    names = {each["name"] for each in lane.ask("GET", f"{lane.path}/databases")["databases"]}
    if names != {DATABASE, "more"}:
        raise Broken(f"the databases are {names}")
    lane.ask("DELETE", f"{lane.path}/users/eve")
    lane.ask("DELETE", f"{lane.path}/databases/more")


def keep_out(lane: Lane) -> None:
    """From an address that the order does not let in, the port opens only while a rule of Neutron's says so."""
    network, stranger, port = lane.deployment.admin.network, lane.plan.stranger, DATASTORES[lane.plan.datastore].port
    if lane.opens(port, stranger):
        raise Broken(f"{stranger} is let in")
    group = next(iter(network.security_groups(name=f"coffer-{lane.instance_id}")))
    rule = network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", ether_type="IPv4", protocol="tcp", port_range_min=port,
        port_range_max=port, remote_ip_prefix=f"{stranger}/32",
    )  # fmt: skip
    until("the port opens with a rule", lambda: lane.opens(port, stranger), 60)
    network.delete_security_group_rule(rule)
    until("the port is shut without it", lambda: not lane.opens(port, stranger), 60)


def restart(lane: Lane) -> None:
    """As the tenant asks for it."""
    lane.act({"restart": {}})
    lane.interrupt("stop datastore")
    lane.until_done()


def take_back(lane: Lane) -> None:
    """A larger flavor, cancelled when Nova is at it: the resize is reverted."""
    lane.act({"resize": {"flavorRef": lane.flavor_id(lane.plan.flavors[1])}})
    until("Nova resizes", lambda: lane.server.status in ("RESIZE", "VERIFY_RESIZE"))
    lane.ask("DELETE", f"{lane.path}/operations/{lane.operation()['id']}")
    lane.until_done("CANCELLED")
    _require_flavor(lane, lane.plan.flavors[0])


def grow(lane: Lane) -> None:
    """A larger flavor, confirmed. All of Coffer ends while Nova is at it; the operation goes on when Coffer is there again."""
    lane.act({"resize": {"flavorRef": lane.flavor_id(lane.plan.flavors[1])}})
    until("Nova resizes", lambda: lane.server.status in ("RESIZE", "VERIFY_RESIZE"))
    lane.stack.down()
    lane.stack.up()
    lane.until_done()
    _require_flavor(lane, lane.plan.flavors[1])


def shrink(lane: Lane) -> None:
    """Back to the first flavor: Nova makes no root disk smaller, and then the database serves on where it was."""
    disks = {each.name: each.disk for each in lane.deployment.admin.compute.flavors()}
    smaller = disks[lane.plan.flavors[0]] < disks[lane.plan.flavors[1]]
    lane.act({"resize": {"flavorRef": lane.flavor_id(lane.plan.flavors[0])}})
    lane.until_done("FAILED" if smaller else "DONE")
    _require_flavor(lane, lane.plan.flavors[1 if smaller else 0])


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


def lose(lane: Lane) -> None:
    """Nova deletes the server: the tenant is told, a restart fails, and only a deletion is left."""
    lane.deployment.admin.compute.delete_server(lane.server)
    until("the tenant is told", lambda: "deleted in Nova" in (lane.instance["operating_status_reason"] or ""))
    lane.act({"restart": {}})
    ended = until("the restart has ended", lambda: (one := lane.operation())["finished"] and one)
    if ended["state"] != "FAILED":
        raise Broken(f"a restart without a server is {ended['state']}")


def delete(lane: Lane) -> None:
    """As the tenant asks for it."""
    if lane.plan.force:
        lane.act({"reset_status": {"force_delete": True}})
    lane.ask("DELETE", lane.path)
    lane.interrupt("delete servers of")
    until("gone", lambda: lane.api.get(lane.path).status_code == 404)


LIFE = (
    Step("order", order),
    Step("use over TCP", use),
    Step("others are kept out", keep_out, needs="stranger"),
    Step("python-troveclient", ask_troveclient),
    Step("openstacksdk", ask_openstacksdk),
    Step("gophercloud", ask_gophercloud),
    Step("restart", restart),
    Step("allowed_cidrs", changes.shut_out),
    Step("larger volume", changes.grow_volume),
    Step("configuration group", changes.configure),
    Step("logs", changes.publish),
    Step("TLS", changes.encrypt),
    Step("reset status", power.reset_status),
    Step("migrate", power.migrate),
    Step("stop and start", power.stop_and_start),
    Step("reboot", power.reboot),
    Step("rebuild", changes.rebuild),
    Step("upgrade", changes.upgrade, needs="series"),
    Step("resize, cancelled and taken back", take_back),
    Step("resize, Coffer stopped and started in the middle", grow),
    Step("resize to a smaller root disk", shrink),
    Step("server rebooted by Nova", reboot),
    Step("server stopped and started by Nova", stop),
    Step("server deleted by Nova", lose, serves=False, needs="lose"),
    Step("delete", delete, serves=False),
)
ENDS = ("order", "use over TCP", "delete")  # what every life has


def live(lane: Lane, names: tuple[str, ...]) -> list[tuple[str, float]]:
    """Do the steps of these names, in the table's order; return how long each took. Nothing is left afterwards."""
    took = []
    for step in LIFE:
        wanted = step.name in names or step.name in ENDS
        if wanted and (not step.needs or getattr(lane.plan, step.needs)):
            began = time.monotonic()
            step.do(lane)
            took.append((step.name, time.monotonic() - began))
            print(f"  ✓ {step.name} ({took[-1][1]:.1f} s)", flush=True)  # noqa: T201
            took += lane.notes
            lane.notes = []
            if lane.written and step.serves:
                lane.require_data()
                lane.write()
    left = lane.belongings()
    if left:
        raise Broken(f"left behind: {', '.join(left)}")
    return took


def _require_flavor(lane: Lane, name: str) -> None:
    """Broken unless Nova and the tenant both see this flavor."""
    seen = (lane.server.flavor.original_name, lane.instance["flavor"]["id"])
    if seen != (name, lane.flavor_id(name)):
        raise Broken(f"the server is on {seen}, and not on {name}")


def _seconds(begin: str, end: str) -> float:
    """Between two moments as Nova writes them: one of them has a zone."""
    moments = [datetime.fromisoformat(each.rstrip("Z")).replace(tzinfo=None) for each in (begin, end)]
    return (moments[1] - moments[0]).total_seconds()
