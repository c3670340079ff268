"""Clients that nobody has changed, against the deployment: python-troveclient, openstacksdk, gophercloud."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.openstack.lane import Broken, Lane

GOPHERCLOUD = Path(__file__).resolve().parents[1] / "clients/gophercloud"
NAME, OTHER = "byclient", "bysecond"
# what the `openstack` command is told, after `openstack database`; {} is the instance
COMMANDS = (
    "flavor list", "instance list", "instance show {}", "limit list",
    f"db create {{}} {NAME}", f"db create {{}} {OTHER}", "db list {}",
    f"user create {{}} {NAME} between-two-lists --databases {NAME}", "user list {}", f"user show {{}} {NAME}",
    f"user grant access {{}} {NAME} {OTHER}", f"user show access {{}} {NAME}", f"user revoke access {{}} {NAME} {OTHER}",
    f"user delete {{}} {NAME}", f"db delete {{}} {NAME}", f"db delete {{}} {OTHER}",
    "root show {}", "instance restart {}",
)  # fmt: skip


def login(lane: Lane) -> dict[str, str]:
    """The tenant's, as clients take it from their environment."""
    site = lane.deployment.site
    told = {"OS_AUTH_URL": site.keystone, "OS_USERNAME": lane.name, "OS_PASSWORD": lane.secret,
            "OS_PROJECT_NAME": lane.name, "OS_USER_DOMAIN_ID": site.domain, "OS_PROJECT_DOMAIN_ID": site.domain,
            "OS_REGION_NAME": site.region, "OS_IDENTITY_API_VERSION": "3"}  # fmt: skip
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "GOPROXY", "GOFLAGS") if name in os.environ}
    return {**kept, **told}


def ask_troveclient(lane: Lane) -> None:
    """Every command of an instance's life that leaves it as it was; the last is a restart."""
    program = str(Path(sys.executable).parent / "openstack")
    for command in COMMANDS:
        words = command.format(lane.instance_id).split()
        done = subprocess.run([program, "database", *words], env=login(lane), capture_output=True, text=True)
        if done.returncode:
            raise Broken(f"openstack database {command}: {done.stderr.strip()}")
    lane.until_done()


def ask_openstacksdk(lane: Lane) -> None:
    """What the SDK knows of a Database service."""
    database, mine = lane.tenant.database, lane.instance_id
    if mine not in [each.id for each in database.instances()] or not list(database.flavors()):
        raise Broken("openstacksdk does not list the instance and flavors")
    if database.get_instance(mine).status != "ACTIVE":
        raise Broken("openstacksdk does not show the instance")
    database.create_database(mine, name=NAME)
    database.create_user(mine, name=NAME, password=lane.secret, databases=[{"name": NAME}])
    if NAME not in [each.name for each in database.databases(mine)]:
        raise Broken("openstacksdk does not list the database")
    if NAME not in [each.name for each in database.users(mine)]:
        raise Broken("openstacksdk does not list the user")
    database.delete_user(NAME, instance=mine)
    database.delete_database(NAME, instance=mine)


def ask_gophercloud(lane: Lane) -> None:
    """The program of the tests of the API, on this instance; it ends with a restart."""
    if not shutil.which("go"):
        raise Broken("there is no `go` to build the program of gophercloud with")
    command = ["go", "run", "-mod=readonly", ".", lane.plan.datastore, lane.instance_id]
    environment = {**login(lane), "OS_DOMAIN_ID": lane.deployment.site.domain}  # what it takes a project's name with
    done = subprocess.run(command, cwd=GOPHERCLOUD, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Broken(f"gophercloud: {done.stdout}{done.stderr}")
    lane.until_done()
