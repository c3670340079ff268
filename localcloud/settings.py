"""Settings, from the environment with the prefix `LOCALCLOUD_`."""

import os
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that can be told to the cloud."""

    model_config = SettingsConfigDict(env_prefix="LOCALCLOUD_", extra="ignore")

    state: Path = Path("localcloud-state")
    """Folder of the volumes and the servers, for this process's user alone."""
    database: Path | None = None
    """File of the database; none: `state.db` in the state's folder."""
    images: Path = Path("images")
    """Folder of images: one folder each, with a manifest.yaml."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8774
    """Port of all four services."""
    keystone: str = "http://127.0.0.1:5000/v3"
    """Identity endpoint that tokens are checked at."""
    username: str = "admin"
    """User that checks tokens."""
    password_file: Path = Path("admin-password")
    """File with that user's password."""
    project: str = "admin"
    """Project of that user."""
    server_delay: float = 0.5
    """Seconds that a server is in BUILD."""
    volume_delay: float = 0.2
    """Seconds that a volume is creating."""
    delete_delay: float = 0.1
    """Seconds that a deletion takes, beyond the work itself."""
    stop_grace: float = 20
    """Seconds between SIGTERM and SIGKILL when a server stops."""
    first_uid: int = 200_000
    """First of the user ids that servers get, two each."""
    hosts: int = 1
    """Hosts that Nova says it has: with one, no server can be migrated."""
    quota_servers: int = 50
    """Servers per project."""
    quota_cores: int = 100
    """Virtual processors per project."""
    quota_gigabytes: int = 1000
    """Sum of volume sizes per project."""
    quota_ports: int = 200
    """Ports per project."""
    endpoints: str = ""
    """Where servers reach the host: `ADDRESS:PORT=ADDRESS:PORT,…`, what they dial and where it leads (TCP, IPv4)."""
    unprivileged: bool = os.geteuid() != 0
    """Run servers without namespaces and loop devices; forced where this process is not root."""
    log_level: str = "info"
    """Log level of the HTTP server."""
