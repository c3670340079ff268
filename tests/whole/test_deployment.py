"""What Coffer needs in an OpenStack that is there: made once, found again, and taken back. `make openstack` tries all of it."""

from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from deploy.openstack.account import make_account, remove_account
from deploy.openstack.catalogue import make_endpoint, remove_endpoint
from deploy.openstack.deployment import MARK, Deployment
from deploy.openstack.network import make_network, remove_network
from deploy.openstack.site import Site
from deploy.processes import programs
from deploy.secrets import make_secrets, write_clients
from deploy.settings import HERE, StackSettings
from tests.stack import RunningStack

MAKE = (make_account, make_network, make_endpoint)
UNDO = (remove_endpoint, remove_network, remove_account)


@pytest.fixture
def deployment(stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """One on the embedded Keystone and Neutron; of them there is the service `database` already, which must stay."""
    content = f"{{keystone: '{stack.settings.keystone_url}', cloud: admin, address: 192.0.2.10, account: other, "
    site = tmp_path / "site.yaml"
    site.write_text(content + "network: other, cidr: 10.79.0.0/24, region: Elsewhere}")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(stack.settings.home / "clouds.yaml"))
    places = {"site": site, "home": tmp_path / "home", "open_home": tmp_path / "open"}
    settings = StackSettings(**{**stack.settings.model_dump(), **places})
    make_secrets(settings)
    write_clients(settings)
    assert settings.openstack is not None
    identity: Any = stack.cloud("admin").identity
    identity.create_region(id="Elsewhere")
    made = Deployment(settings, settings.openstack)
    yield made
    for undo in UNDO:
        undo(made)
    identity.delete_region("Elsewhere")


def made(stack: RunningStack) -> dict[str, list[str]]:
    """Names and addresses of all of a kind, as an administrator sees them."""
    admin: Any = stack.cloud("admin")
    return {
        "projects": sorted(each.name for each in admin.identity.projects()),
        "users": sorted(each.name for each in admin.identity.users()),
        "endpoints": sorted(each.url for each in admin.identity.endpoints()),
        "services": sorted(each.type for each in admin.identity.services()),
        "networks": sorted(each.name for each in admin.network.networks()),
        "routers": sorted(each.name for each in admin.network.routers()),
        "groups": sorted(each.project_id for each in admin.network.security_groups()),
    }


def test_what_is_made_twice_is_there_once_and_then_gone(stack: RunningStack, deployment: Deployment) -> None:
    before = made(stack)
    for make in (*MAKE, *MAKE):
        make(deployment)
    after = made(stack)
    url = f"{deployment.settings.api_url}/v1.0/%(project_id)s"
    assert after["projects"] == sorted([*before["projects"], "other"])
    assert after["users"] == sorted([*before["users"], "other"])
    assert after["networks"] == sorted([*before["networks"], "other"])
    assert after["routers"] == sorted([*before["routers"], "other"])
    assert after["endpoints"] == sorted([*before["endpoints"], url, url, url])
    assert after["services"] == before["services"]
    assert deployment.service.current_project_id == deployment.project_id
    for undo in (*UNDO, *UNDO):
        undo(deployment)
    assert made(stack) == before


def test_a_password_that_is_not_ours_any_more_is_set_again(deployment: Deployment) -> None:
    make_account(deployment)
    (user,) = deployment.admin.identity.users(name="other")
    deployment.admin.identity.update_user(user, password="somebody else's")
    make_account(deployment)
    assert deployment.service.session.get_token()
    remove_account(deployment)


def test_what_the_operator_made_stays(deployment: Deployment) -> None:
    admin = deployment.admin
    project = admin.identity.create_project(name="other", domain_id="default", description="the operator's")
    make_account(deployment)
    remove_account(deployment)
    assert deployment.find_project().description != MARK
    admin.identity.delete_project(project)


def test_no_process_of_the_embedded_cloud_runs(deployment: Deployment) -> None:
    names = {each.name for each in programs(deployment.settings)}
    assert {"api", "gateway", "temporal"} <= names
    assert not {"keystone", "swift", "localcloud"} & names


def test_the_example_can_be_read() -> None:
    site = Site.read(HERE / "deploy/openstack/site.example.yaml")
    assert site.cidr == IPv4Network("10.79.0.0/20")
