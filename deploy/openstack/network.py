"""The network of database servers whose order names none, and its router to the external one."""

from contextlib import suppress
from typing import Any

from openstack.exceptions import BadRequestException, NotFoundException

from deploy.openstack.deployment import MARK, Blocked, Deployment


def make_network(deployment: Deployment) -> None:
    """Make network, subnet and router; or look that a network of the operator's is there."""
    site, network = deployment.site, deployment.admin.network
    if site.cidr is None:
        if network.find_network(site.network) is None:
            raise Blocked(f"there is no network {site.network}; with `cidr` in the site file it is made")
        return
    owned = {"project_id": deployment.project_id, "name": site.network, "description": MARK}
    made = _first(deployment, "networks") or network.create_network(**owned)
    subnet = next(iter(network.subnets(network_id=made.id)), None) or network.create_subnet(
        **owned, network_id=made.id, ip_version=4, cidr=str(site.cidr)
    )
    router = _first(deployment, "routers") or network.create_router(
        **owned, external_gateway_info={"network_id": external_network(deployment)}
    )
    try:
        network.add_interface_to_router(router, subnet=subnet)
    except BadRequestException as error:
        if "already has a port" not in str(error):
            raise


def remove_network(deployment: Deployment) -> None:
    """Delete what the deployment made."""
    if deployment.find_project() is None:
        return
    network = deployment.admin.network
    router, made = _first(deployment, "routers"), _first(deployment, "networks")
    if router is not None and router.description == MARK:
        for subnet in network.subnets(network_id=made.id) if made else ():
            with suppress(NotFoundException):
                network.remove_interface_from_router(router, subnet=subnet)
        network.delete_router(router)
    if made is not None and made.description == MARK:
        network.delete_network(made)


def _first(deployment: Deployment, kind: str) -> Any:
    """The project's own of this name, or None."""
    listed = getattr(deployment.admin.network, kind)(name=deployment.site.network, project_id=deployment.project_id)
    return next(iter(listed), None)


def external_network(deployment: Deployment) -> str:
    """Id of the external network; Blocked where there is none."""
    network, name = deployment.admin.network, deployment.site.external
    found = network.find_network(name) if name else next(iter(network.networks(is_router_external=True)), None)
    if found is None:
        raise Blocked(f"there is no external network {name}".rstrip())
    return str(found.id)
