"""`python -m localcloud.keystone`: OpenStack's own Keystone, one process, on SQLite.

The first start makes its database, keys and administrator; every start brings projects, users, roles and endpoints in
line with a seed file.
"""

import configparser
import grp
import logging
import multiprocessing
import os
import pwd
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import yaml
from pydantic_settings import BaseSettings, SettingsConfigDict

DOMAIN = {"id": "default"}


class KeystoneSettings(BaseSettings):
    """From the environment, prefix `LOCALCLOUD_KEYSTONE_`."""

    model_config = SettingsConfigDict(env_prefix="LOCALCLOUD_KEYSTONE_", extra="ignore")

    state: Path = Path("keystone")
    """Folder of configuration, keys and database."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 5000
    """Port to listen on."""
    password_file: Path = Path("admin-password")
    """File with the administrator's password."""
    seed: Path = Path("seed.yaml")
    """Projects, users, roles, services; see localcloud/README.md."""
    region: str = "RegionOne"
    """The one region."""
    threads: int = 4
    """Requests served at once."""


def configure(settings: KeystoneSettings) -> Path:
    """Write keystone.conf; return its path."""
    state = settings.state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    config = configparser.ConfigParser(interpolation=None)
    config.read_dict(
        {
            "DEFAULT": {"log_file": "", "use_stderr": "true", "default_logging_level": "WARNING"},
            "database": {"connection": f"sqlite:///{state}/keystone.db?timeout=30"},
            "token": {"provider": "fernet", "expiration": "14400"},
            "fernet_tokens": {"key_repository": f"{state}/fernet"},
            "fernet_receipts": {"key_repository": f"{state}/receipts"},
            "credential": {"key_repository": f"{state}/credential"},
            "identity": {"password_hash_rounds": "4"},
            "cache": {"enabled": "true", "backend": "dogpile.cache.memory"},
            "oslo_policy": {"enforce_scope": "true"},
        }
    )
    path = state / "keystone.conf"
    with path.open("w") as file:
        config.write(file)
    return path


def prepare(settings: KeystoneSettings, config: Path) -> None:
    """Make what a first start needs; broken off, the next start does it again."""
    done = settings.state / "prepared"
    if done.exists():
        return
    state = settings.state.resolve()
    url = f"http://{settings.host}:{settings.port}/v3/"
    for each in (
        ["db_sync"],
        ["fernet_setup", *_owner()],
        ["credential_setup", *_owner()],
        ["bootstrap", f"--bootstrap-password={settings.password_file.read_text().strip()}",  # it may begin with a dash
         "--bootstrap-region-id", settings.region, "--bootstrap-public-url", url,
         "--bootstrap-internal-url", url, "--bootstrap-admin-url", url],
    ):  # fmt: skip
        _manage(config, *each)
    with sqlite3.connect(state / "keystone.db") as db:
        db.execute("PRAGMA journal_mode = WAL")
    done.touch()


def _manage(config: Path, *words: str) -> None:
    """Do what `keystone-manage` does, in a child of this process: to load Keystone anew takes longer than the work."""
    from keystone.cmd import manage

    def work() -> None:
        os.chdir(config.parent)
        sys.argv = ["keystone-manage", "--config-file", str(config), *words]
        manage.main()

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"keystone-manage {words[0]} failed")


def _owner() -> list[str]:
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    return ["--keystone-user", user, "--keystone-group", group]


class Seeder:
    """Brings Keystone in line with the seed file, over its own API."""

    def __init__(self, settings: KeystoneSettings) -> None:
        self._settings = settings
        self._http = httpx.Client(base_url=f"http://{settings.host}:{settings.port}/v3", timeout=30, verify=False)

    def seed(self) -> None:
        """Wait until Keystone answers, then make what is missing."""
        self._log_in()
        wanted = yaml.safe_load(self._settings.seed.read_text()) or {} if self._settings.seed.exists() else {}
        projects = {
            name: self._find_or_make("project", name, domain_id="default") for name in wanted.get("projects", [])
        }
        for user in wanted.get("users", []):
            self._user(user, projects)
        for service in wanted.get("services", []):
            self._service(service)
        (self._settings.state / "seeded").write_text(str(time.time()))

    def _log_in(self) -> None:
        password = self._settings.password_file.read_text().strip()
        user = {"name": "admin", "domain": DOMAIN, "password": password}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "admin", "domain": DOMAIN}}}  # fmt: skip
        for _ in range(300):
            try:
                answer = self._http.post("/auth/tokens", json={"auth": auth})
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            answer.raise_for_status()
            self._http.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
            return
        raise TimeoutError("Keystone does not answer")

    def _find(self, kind: str, **attributes: str) -> dict[str, Any] | None:
        found = self._http.get(f"/{kind}s", params=attributes).raise_for_status().json()[f"{kind}s"]
        return found[0] if found else None

    def _find_or_make(self, kind: str, name: str, **more: Any) -> str:
        found = self._find(kind, name=name)
        if found is None:
            made = self._http.post(f"/{kind}s", json={kind: {"name": name, **more}})
            found = made.raise_for_status().json()[kind]
        return str(found["id"])

    def _user(self, wanted: dict[str, Any], projects: dict[str, str]) -> None:
        password = Path(wanted["password_file"]).read_text().strip()
        user_id = self._find_or_make("user", wanted["name"], domain_id="default", password=password)
        for project, roles in wanted.get("roles", {}).items():
            project_id = projects.get(project) or self._find_or_make("project", project, domain_id="default")
            for role in roles:
                role_id = self._find_or_make("role", role)
                self._http.put(f"/projects/{project_id}/users/{user_id}/roles/{role_id}").raise_for_status()

    def _service(self, wanted: dict[str, Any]) -> None:
        found = self._find("service", type=wanted["type"])
        if found is None:
            body = {"service": {"name": wanted["name"], "type": wanted["type"]}}
            found = self._http.post("/services", json=body).raise_for_status().json()["service"]
        for interface in ("public", "internal", "admin"):
            there = self._find("endpoint", service_id=found["id"], interface=interface)
            endpoint = {"service_id": found["id"], "interface": interface, "url": wanted["url"],
                        "region_id": self._settings.region}  # fmt: skip
            if there is None:
                self._http.post("/endpoints", json={"endpoint": endpoint}).raise_for_status()
            elif there["url"] != wanted["url"]:
                self._http.patch(f"/endpoints/{there['id']}", json={"endpoint": endpoint}).raise_for_status()


def _seed_when_up(settings: KeystoneSettings) -> None:
    try:
        Seeder(settings).seed()
    except Exception as error:  # noqa: BLE001 - in a thread: the process must not go on half-seeded
        sys.stderr.write(f"seeding failed: {error!r}\n")
        os._exit(1)


def main() -> None:
    """Serve with waitress; a thread seeds when the port answers."""
    os.umask(0o077)
    settings = KeystoneSettings()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    config = configure(settings)
    prepare(settings, config)
    sys.argv = ["keystone"]
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = str(config)
    (settings.state / "seeded").unlink(missing_ok=True)

    import waitress
    from keystone.server.wsgi import initialize_public_application

    application = initialize_public_application()
    threading.Thread(target=_seed_when_up, args=(settings,), daemon=True).start()
    waitress.serve(application, host=settings.host, port=settings.port, threads=settings.threads, ident="keystone")


if __name__ == "__main__":
    main()
