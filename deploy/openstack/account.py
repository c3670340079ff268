"""The service's project and user, and the quotas of the project."""

from typing import Any

from keystoneauth1.exceptions import Unauthorized

from deploy.openstack.deployment import MARK, Blocked, Deployment

ROLE = "admin"  # of the service user, in its own project alone: it makes ports on tenants' networks


def make_account(deployment: Deployment) -> None:
    """Make what is missing. The password is set where the user is new or cannot log in with it."""
    identity, site = deployment.admin.identity, deployment.site
    project = deployment.find_project() or identity.create_project(
        name=site.account, domain_id=site.domain, description=MARK
    )
    user = _user(deployment) or identity.create_user(
        name=site.account, domain_id=site.domain, description=MARK, password=deployment.password
    )
    role = identity.find_role(ROLE, ignore_missing=False)
    if not any(identity.role_assignments(user_id=user.id, scope_project_id=project.id, role_id=role.id)):
        identity.assign_project_role_to_user(project, user, role)
    try:
        deployment.service.session.get_token()
    except Unauthorized:
        identity.update_user(user, password=deployment.password)
        deployment.service.session.get_token()


def remove_account(deployment: Deployment) -> None:
    """Delete user and project where the deployment made them, and the project's default security group."""
    admin = deployment.admin
    user, project = _user(deployment), deployment.find_project()
    if user is not None and user.description == MARK:
        admin.identity.delete_user(user)
    if project is not None and project.description == MARK:
        for group in admin.network.security_groups(project_id=project.id):
            admin.network.delete_security_group(group)
        admin.identity.delete_project(project)


def require_no_instances(deployment: Deployment) -> None:
    """Blocked while something of an instance is left."""
    project = deployment.find_project()
    if project is None:
        return
    admin = deployment.admin
    found = [*admin.compute.servers(all_projects=True, project_id=project.id),
             *admin.block_storage.volumes(all_projects=True, project_id=project.id)]  # fmt: skip
    if found:
        raise Blocked(
            f"{len(found)} servers and volumes are left in the project {project.name}: delete the instances first"
        )


def make_quotas(deployment: Deployment) -> None:
    """Let the project hold all instances. What a tenant may have is said by Coffer's own quotas."""
    admin, project, most = deployment.admin, deployment.project_id, deployment.site.instances
    admin.set_compute_quotas(project, instances=most, cores=-1, ram=-1, server_groups=most)
    admin.set_volume_quotas(project, volumes=most, gigabytes=-1)
    admin.set_network_quotas(
        project, port=2 * most, security_group=most + 1, security_group_rule=-1, floatingip=most
    )  # one more group: the project's default one


def remove_quotas(deployment: Deployment) -> None:
    """Back to the cloud's defaults, of a project that the deployment made."""
    project = deployment.find_project()
    if project is not None and project.description == MARK:
        for remove in ("delete_compute_quotas", "delete_volume_quotas", "delete_network_quotas"):
            getattr(deployment.admin, remove)(project.id)


def _user(deployment: Deployment) -> Any:
    site = deployment.site
    return next(iter(deployment.admin.identity.users(name=site.account, domain_id=site.domain)), None)
