"""What the image tells the guest, by its environment."""

from pathlib import Path

from pydantic_settings import BaseSettings

from guest_worker.paths import GuestPaths


class GuestSettings(BaseSettings):
    """Set by the image (its systemd unit, or the embedded cloud's manifest)."""

    root: Path = Path("/")
    """Folder that stands for the machine's root."""
    bind_address: str = "*"
    """Address the engine listens on; `*`: all."""
    memory_mib: int = 0
    """Memory of the machine in MiB where the system tells another's; 0: what the runbook says."""
    volume_mounted_at: str = ""
    """Folder of the data volume where the platform presents it as mounted; empty: the disk process mounts it."""
    engine_user: str = ""
    """Name of the engine's own user, whose programs the privileged process runs; empty: the guest's user runs them."""
    engine_prefix: str = ""
    """Folder of the engine's binaries; empty: the system's."""
    engine_template: Path | None = None
    """Data directory that the image carries, for new instances to copy; empty: each makes its own."""
    guest_log_level: str = "INFO"
    """Log level."""
    renew_hours: float = 24
    """Hours after which the guest changes its token at the gateway; give or take a quarter."""
    heartbeat_seconds: float = 15
    """Seconds between heartbeats of the watch, at most."""

    @property
    def paths(self) -> GuestPaths:
        """Where things lie below the root."""
        return GuestPaths(self.root, self.volume_mounted_at)
