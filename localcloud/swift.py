"""`python -m localcloud.swift`: OpenStack's own Swift, its four servers in one process, one replica on one device.

Swift still uses eventlet, so it has a process of its own; nothing else may be imported into it.
"""

import eventlet

eventlet.monkey_patch()

import configparser  # noqa: E402 - after the patch
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from pydantic_settings import BaseSettings, SettingsConfigDict  # noqa: E402

PARTS = {"account": 1, "container": 2, "object": 3}  # offset of each server's port from the proxy's
PART_POWER = 4
ROLES = "admin, member"


class SwiftSettings(BaseSettings):
    """From the environment, prefix `LOCALCLOUD_SWIFT_`."""

    model_config = SettingsConfigDict(env_prefix="LOCALCLOUD_SWIFT_", extra="ignore")

    state: Path = Path("swift")
    """Folder of rings, configuration and objects; its file system must have extended attributes."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port of the proxy; the three servers behind it have the next three."""
    keystone: str = "http://127.0.0.1:5000/v3"
    """Identity endpoint that tokens are checked at."""
    password_file: Path = Path("admin-password")
    """File with the password of the administrator, who checks tokens."""


def build_rings(settings: SwiftSettings, folder: Path) -> None:
    """Recreate the three rings: they only say that everything is on the one device, and where its servers listen."""
    from swift.common.ring import RingBuilder

    for name, offset in PARTS.items():
        builder = RingBuilder(PART_POWER, 1, 1)
        builder.add_dev({"region": 1, "zone": 1, "ip": settings.host, "port": settings.port + offset, "weight": 1,
                         "device": "d1"})  # fmt: skip
        builder.rebalance()
        builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def write(path: Path, sections: dict[str, dict[str, str]]) -> None:
    """Write a configuration that only its owner reads."""
    config = configparser.ConfigParser(interpolation=None)
    config.read_dict(sections)
    path.touch(mode=0o600)
    with path.open("w") as file:
        config.write(file)


def configure(settings: SwiftSettings) -> Path:
    """Write all configuration; return its folder."""
    folder = settings.state.resolve()
    (folder / "devices/d1").mkdir(parents=True, exist_ok=True)
    build_rings(settings, folder)
    write(
        folder / "swift.conf",
        {"swift-hash": {"swift_hash_path_suffix": "localcloud", "swift_hash_path_prefix": "localcloud"}},
    )
    common = {"swift_dir": str(folder), "devices": str(folder / "devices"), "mount_check": "false",
              "bind_ip": settings.host, "log_level": "WARNING"}  # fmt: skip
    for name, offset in PARTS.items():
        write(folder / f"{name}.conf", {
            "DEFAULT": {**common, "bind_port": str(settings.port + offset)},
            "pipeline:main": {"pipeline": f"{name}-server"},
            f"app:{name}-server": {"use": f"egg:swift#{name}"},
        })  # fmt: skip
    write(folder / "proxy.conf", {"DEFAULT": {**common, "bind_port": str(settings.port)}, **proxy_sections(settings)})
    return folder


def proxy_sections(settings: SwiftSettings) -> dict[str, dict[str, str]]:
    """The proxy's pipeline, with Keystone's own middleware."""
    auth = {
        "paste.filter_factory": "keystonemiddleware.auth_token:filter_factory",
        "auth_type": "password",
        "auth_url": settings.keystone,
        "www_authenticate_uri": settings.keystone,
        "username": "admin",
        "password": settings.password_file.read_text().strip(),
        "project_name": "admin",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "delay_auth_decision": "true",
        "service_token_roles_required": "true",
        "cache": "none",
    }
    filters = {"healthcheck": "healthcheck", "catch_errors": "catch_errors", "proxy-logging": "proxy_logging",
               "bulk": "bulk", "tempurl": "tempurl", "slo": "slo", "dlo": "dlo", "symlink": "symlink",
               "versioned_writes": "versioned_writes", "copy": "copy", "gatekeeper": "gatekeeper"}  # fmt: skip
    sections = {f"filter:{name}": {"use": f"egg:swift#{egg}"} for name, egg in filters.items()}
    sections["filter:versioned_writes"]["allow_object_versioning"] = "true"
    sections["filter:authtoken"] = auth
    sections["filter:keystoneauth"] = {
        "use": "egg:swift#keystoneauth",
        "operator_roles": ROLES,
        "reseller_prefix": "AUTH",
    }
    sections["pipeline:main"] = {
        "pipeline": "catch_errors gatekeeper healthcheck proxy-logging bulk tempurl authtoken keystoneauth copy slo dlo "
        "versioned_writes symlink proxy-logging proxy-server"
    }
    sections["app:proxy-server"] = {
        "use": "egg:swift#proxy",
        "account_autocreate": "true",
        "allow_account_management": "false",
    }
    return sections


def main() -> None:
    """Serve until killed: what Swift has answered is on the disk."""
    os.umask(0o077)
    settings = SwiftSettings()
    folder = configure(settings)
    from eventlet import wsgi
    from swift.common import utils
    from swift.common.storage_policy import reload_storage_policies
    from swift.common.wsgi import loadapp

    utils.set_swift_dir(str(folder))
    reload_storage_policies()
    sys.argv = ["swift"]
    pool = eventlet.GreenPool(4 * 256)
    for name, offset in {**PARTS, "proxy": 0}.items():
        app = loadapp(str(folder / f"{name}.conf"), allow_modify_pipeline=name == "proxy")
        sock = eventlet.listen((settings.host, settings.port + offset), backlog=256, reuse_addr=True)
        pool.spawn(wsgi.server, sock, app, log_output=False, max_size=256, capitalize_response_headers=False)
    pool.waitall()


if __name__ == "__main__":
    main()
