"""`python -m deploy.openstack up|down|status|undo SITE.yaml`: run Coffer on an OpenStack that is there.

`up` makes in OpenStack what is missing (account, quotas, network, images, endpoint), starts Coffer's processes on this
machine, and offers the datastores that the images hold. `undo` stops them and takes all of it back. Each may be repeated.
"""

import sys
from pathlib import Path

from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException
from pydantic import ValidationError

from deploy.openstack.account import make_account, make_quotas, remove_account, remove_quotas, require_no_instances
from deploy.openstack.catalogue import make_endpoint, remove_endpoint, remove_images, upload_images
from deploy.openstack.deployment import Blocked, Deployment, Step
from deploy.openstack.network import make_network, remove_network
from deploy.settings import StackSettings
from deploy.stack import Refused, Stack, say
from deploy.upload import WrongImage

STEPS = (
    Step("project and user of the service", make_account, remove_account),
    Step("quotas of the project", make_quotas, remove_quotas),
    Step("network of database servers", make_network, remove_network),
    Step("images of database servers", upload_images, remove_images),
    Step("endpoint in the catalogue", make_endpoint, remove_endpoint),
)


def up(stack: Stack, deployment: Deployment) -> None:
    """Prepare the cloud, then start all processes."""
    stack.make_files()
    for each in STEPS:
        stack.step(each.name, lambda each=each: each.make(deployment))  # type: ignore[misc]
    stack.up()
    say(f"Coffer runs: {stack.settings.api_url}, and as the service `database` in Keystone's catalogue")


def undo(stack: Stack, deployment: Deployment) -> None:
    """Stop all processes and take back what was made; the records and keys stay in the state's folder."""
    require_no_instances(deployment)
    stack.down()
    for each in reversed(STEPS):
        stack.step(f"without: {each.name}", lambda each=each: each.undo(deployment))  # type: ignore[misc]


def main() -> int:
    """Do what the command line says; 0 is success."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("up", "down", "status", "undo"):
        say(__doc__ or "")
        return 2
    settings = StackSettings(site=Path(sys.argv[2]).resolve())
    stack = Stack(settings)
    try:
        if sys.argv[1] == "status":
            return stack.status()
        if sys.argv[1] == "down":
            stack.down()
            return 0
        assert settings.openstack is not None
        (up if sys.argv[1] == "up" else undo)(stack, Deployment(settings, settings.openstack))
    except (Refused, Blocked, WrongImage, SDKException, ClientException, ValidationError, OSError) as error:
        say(f"✗ {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
