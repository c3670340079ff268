"""What administrators have done to the instance: stop, start, reboot, migrate, statuses."""

from tests.openstack.lane import Broken, Lane, until


def stop_and_start(lane: Lane) -> None:
    """Stopped by an administrator, started by its owner."""
    lane.administer({"stop": {}})
    lane.until_ended()
    seen = (lane.instance["status"], lane.instance["operating_status"], lane.server.status)
    if seen != ("SHUTDOWN", "SHUTDOWN", "SHUTOFF"):
        raise Broken(f"the instance was stopped, and is {seen}")
    lane.act({"restart": {}})
    lane.until_done()


def reboot(lane: Lane) -> None:
    """Of the server, by Coffer."""
    lane.administer({"reboot": {}})
    lane.until_done()


def migrate(lane: Lane) -> None:
    """To another host, where there is one; else it is told so, and the database serves where it was."""
    admin = lane.deployment.admin.compute
    host, more = lane.server.compute_host, len(list(admin.services(binary="nova-compute"))) > 1
    lane.administer({"migrate": {}})
    ended = lane.until_ended("DONE" if more else "FAILED")
    lane.until_healthy()
    if (lane.server.compute_host != host) is not more:
        raise Broken(f"the server was on {host}, and is on {lane.server.compute_host}")
    if not more and "No valid host" not in (ended["reason"] or ""):
        raise Broken(f"no other host is told as {ended['reason']}")


def reset_status(lane: Lane) -> None:
    """An administrator sets ERROR, and health takes it back. Where nothing was interrupted, nothing is settled."""
    lane.administer({"reset_status": {}}, f"{lane.path}/action")
    until("ERROR or health again", lambda: lane.instance["status"] in ("ERROR", "ACTIVE"))
    until("ACTIVE again", lambda: lane.instance["status"] == "ACTIVE", 180)
    lane.until_healthy()
    lane.administer({"reset-task-status": {}})
    lane.until_healthy()
