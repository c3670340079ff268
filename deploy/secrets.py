"""Keys and passwords: made once, mode 0600, and the files that clients read."""

import secrets
from pathlib import Path
from typing import Any

import yaml

from contract.files import write_private
from deploy.settings import Account, StackSettings

PASSWORDS = ("admin", "demo", "coffer", "records")


def make_secrets(settings: StackSettings) -> None:
    """Make what is missing: the master key and a password for each account."""
    settings.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = settings.secrets / "master.key"
    if not key.exists():
        write_private(key, secrets.token_hex(32))
    for name in PASSWORDS:
        if not (settings.secrets / name).exists():
            write_private(settings.secrets / name, secrets.token_urlsafe(24))
    write_private(
        settings.secrets / "pgpass", f"127.0.0.1:{settings.records_port}:*:coffer:{password(settings, 'records')}\n"
    )


def password(settings: StackSettings, name: str) -> str:
    """The password of an account."""
    return (settings.secrets / name).read_text().strip()


def write_clients(settings: StackSettings) -> None:
    """Write clouds.yaml and openrc files for users of the embedded cloud, and the service's own clouds.yaml."""
    service = {"coffer": _cloud(settings, settings.service)}
    write_private(settings.secrets / "clouds.yaml", yaml.safe_dump({"clouds": service}))
    if settings.openstack:
        return
    people = {name: _cloud(settings, Account(name, name, name)) for name in ("demo", "admin")}
    write_private(settings.home / "clouds.yaml", yaml.safe_dump({"clouds": people}))
    for name in people:
        lines = [f"export {key}={value}" for key, value in _variables(settings, name).items()]
        write_private(settings.home / f"openrc-{name}", "\n".join([*lines, ""]))


def _cloud(settings: StackSettings, account: Account) -> dict[str, Any]:
    return {
        "auth": {
            "auth_url": settings.keystone_url,
            "username": account.user,
            "password": password(settings, account.secret),
            "project_name": account.project,
            "user_domain_id": settings.domain,
            "project_domain_id": settings.domain,
        },
        "region_name": settings.region,
        "identity_api_version": "3",
    }


def _variables(settings: StackSettings, user: str) -> dict[str, str]:
    return {
        "OS_AUTH_URL": settings.keystone_url,
        "OS_USERNAME": user,
        "OS_PASSWORD": password(settings, user),
        "OS_PROJECT_NAME": user,
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_REGION_NAME": "RegionOne",
    }


def write_keystone_seed(settings: StackSettings) -> Path:
    """Write what Keystone is to have: projects, users, the catalog."""
    cloud = f"http://127.0.0.1:{settings.localcloud_port}"
    content = {
        "projects": ["demo", "service"],
        "users": [
            {"name": "demo", "password_file": str(settings.secrets / "demo"), "roles": {"demo": ["member"]}},
            {"name": "coffer", "password_file": str(settings.secrets / "coffer"), "roles": {"service": ["admin"]}},
        ],
        "services": [
            {"name": "keystone", "type": "identity", "url": settings.keystone_url},
            {"name": "nova", "type": "compute", "url": f"{cloud}/compute/v2.1"},
            {"name": "cinderv3", "type": "volumev3", "url": f"{cloud}/volume/v3/%(project_id)s"},
            {"name": "cinder", "type": "block-storage", "url": f"{cloud}/volume/v3/%(project_id)s"},
            {"name": "neutron", "type": "network", "url": f"{cloud}/network"},
            {"name": "barbican", "type": "key-manager", "url": f"{cloud}/key-manager"},
            {"name": "glance", "type": "image", "url": f"{cloud}/image"},
            {"name": "swift", "type": "object-store",
             "url": f"http://127.0.0.1:{settings.swift_port}/v1/AUTH_%(project_id)s"},
            {"name": "trove", "type": "database", "url": f"{settings.api_url}/v1.0/%(project_id)s"},
        ],
    }  # fmt: skip
    path = settings.run / "keystone-seed.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
