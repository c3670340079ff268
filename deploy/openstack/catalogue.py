"""What is found by name: images in Glance, the API in Keystone's catalogue, the datastores that tenants may order."""

import re

from contract.domain.datastores import DATASTORES
from deploy.datastores import write_catalogue
from deploy.openstack.deployment import MARK, Deployment
from deploy.upload import DIGEST, upload

SERVICE = ("trove", "database")  # clients look for this type
VERSION = re.compile(rf"({'|'.join(DATASTORES)})-(.+)")
TAG = "coffer"


def upload_images(deployment: Deployment) -> None:
    """Upload the site's images, unless Glance has them."""
    for image in deployment.site.images:
        upload(deployment.service, image)


def remove_images(deployment: Deployment) -> None:
    """Delete the project's images that were uploaded so."""
    project = deployment.find_project()
    if project is not None:
        for each in list(deployment.admin.image.images(owner=project.id)):
            if DIGEST in each.properties:
                deployment.admin.image.delete_image(each)


def make_endpoint(deployment: Deployment) -> None:
    """Say in the catalogue where the API is."""
    identity, (name, kind) = deployment.admin.identity, SERVICE
    service = next(iter(identity.services(type=kind)), None) or identity.create_service(
        name=name, type=kind, description=MARK
    )
    url = f"{deployment.settings.api_url}/v1.0/%(project_id)s"
    for interface in ("public", "internal", "admin"):
        where = {"service_id": service.id, "interface": interface, "region_id": deployment.site.region}
        found = next(iter(identity.endpoints(**where)), None)
        if found is None:
            identity.create_endpoint(**where, url=url)
        elif found.url != url:
            identity.update_endpoint(found, url=url)


def remove_endpoint(deployment: Deployment) -> None:
    """Take the API out of the catalogue, where it is this one."""
    identity, url = deployment.admin.identity, f"{deployment.settings.api_url}/"
    for service in list(identity.services(type=SERVICE[1])):
        endpoints = list(identity.endpoints(service_id=service.id))
        for each in endpoints:
            if each.url.startswith(url):
                identity.delete_endpoint(each)
        if service.description == MARK and all(each.url.startswith(url) for each in endpoints):
            identity.delete_service(service)


def write_datastores(deployment: Deployment) -> str:
    """Write the catalogue of what the service's images hold, by their tags; return its path."""
    tags = {tag for image in deployment.service.image.images(tag=TAG, status="active") for tag in image.tags}
    found = filter(None, map(VERSION.fullmatch, tags))
    return write_catalogue(
        deployment.settings, ((each[1], each[2], {"image_tags": [TAG, f"{each[1]}-{each[2]}"]}) for each in found)
    )
