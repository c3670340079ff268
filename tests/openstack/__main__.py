"""`python -m tests.openstack SITE.yaml [--steps all|NAME,…]`: deploy Coffer on a real OpenStack, live, and take all back.

The deployment is made as `python -m deploy.openstack up` makes it, and stays when `--keep` is said. Without KVM it takes
a quarter of an hour to an hour.
"""

import argparse
import sys
import time
from pathlib import Path

from deploy.openstack.__main__ import undo, up
from deploy.openstack.deployment import Deployment
from deploy.settings import StackSettings
from deploy.stack import Stack, say
from tests.openstack.lane import Broken, Lane, Plan, until
from tests.openstack.life import LIFE, live


def main() -> int:
    """Do what the command line says; 0 when all was as it should be."""
    said = asked()
    names = tuple(each.name for each in LIFE) if said.steps == "all" else tuple(said.steps.split(","))
    settings = StackSettings(site=said.site.resolve(), control_venv="dev", embedded_venv="dev")
    assert settings.openstack is not None
    stack, deployment = Stack(settings), Deployment(settings, settings.openstack)
    began = time.monotonic()
    up(stack, deployment)
    took = [("deployment", time.monotonic() - began)]
    ordered, _, larger = said.flavors.partition(",")
    plan = Plan(said.datastore, (ordered, larger), said.stranger, said.own_network, said.interrupted, said.lose,
                said.series, said.force)  # fmt: skip
    lane = Lane(stack, deployment, plan)
    lane.make_tenant()
    try:
        took += live(lane, names)
    except Broken as error:
        say(f"✗ {error}")
        return 1
    finally:
        clean_up(lane)
        if not said.keep:
            undo(stack, deployment)
    print("\n| step | seconds |\n|---|---|")  # noqa: T201
    for name, seconds in took:
        print(f"| {name} | {seconds:.1f} |")  # noqa: T201
    return 0


def asked() -> argparse.Namespace:
    """The command line."""
    ask = argparse.ArgumentParser(prog="python -m tests.openstack", description=__doc__)
    ask.add_argument("site", type=Path)
    ask.add_argument("--datastore", default="mariadb")
    ask.add_argument("--flavors", default="m1.tiny,m1.small", help="the one that is ordered, and a larger one")
    ask.add_argument(
        "--steps",
        default="all",
        help="names from the table, separated by commas; order, use and delete are always done",
    )
    ask.add_argument("--stranger", default="", help="another address of this machine, which the order does not let in")
    ask.add_argument(
        "--own-network", default="", help="range of a network of the tenant's, which leads to the gateway alone"
    )
    ask.add_argument(
        "--interrupted", action="store_true", help="stop and start Coffer amid order, restart and deletion"
    )
    ask.add_argument("--lose", action="store_true", help="have Nova delete the server before the deletion")
    ask.add_argument(
        "--series", default="", help="upgrade to this one of the engine, whose image the site file names, too"
    )
    ask.add_argument("--force", action="store_true", help="delete it as `instance force delete` does")
    ask.add_argument("--keep", action="store_true", help="leave the deployment there")
    return ask.parse_args()


def clean_up(lane: Lane) -> None:
    """Delete what a life that broke off has left, and the tenant."""
    if lane.instance_id and lane.api.get(lane.path).status_code != 404:
        lane.api.delete(lane.path)
        until("gone", lambda: lane.api.get(lane.path).status_code == 404)
    lane.remove_tenant()


if __name__ == "__main__":
    sys.exit(main())
