"""Where things lie in the database server. Standard library alone: the privileged process reads it too."""

from dataclasses import dataclass
from pathlib import Path

BOOT = "etc/coffer/guest.json"
GUEST, ENGINE = "guest", "engine"  # users of the machine


@dataclass(frozen=True)
class GuestPaths:
    """Folders and files, by what they are for."""

    root: Path
    mounted_at: str = ""

    @property
    def boot_file(self) -> Path:
        """Written by user data."""
        return self.root / BOOT

    @property
    def state(self) -> Path:
        """The guest's own: fence, journal, wanted state, the administrator's secret. Not on the data volume."""
        return self.root / "var/lib/guest"

    @property
    def guest_log(self) -> Path:
        """What the guest worker logs, besides to where its init has it go."""
        return self.state / "guest.log"

    @property
    def identity(self) -> Path:
        """What the guest is known by at the gateway: its token and keys."""
        return self.state / "identity.json"

    @property
    def data(self) -> Path:
        """The mounted data volume."""
        return Path(self.mounted_at) if self.mounted_at else self.root / "var/lib/database"

    @property
    def engine_config(self) -> Path:
        """The engine's configuration, where the engine has a user of its own: the guest writes, the engine reads."""
        return self.root / "var/lib/engine"

    @property
    def engine_sockets(self) -> Path:
        """The engine's sockets, where it has a user of its own: the engine writes, the guest enters."""
        return self.root / "run/engine"

    @property
    def disks(self) -> Path:
        """A link to each disk, by bus and serial number; udev makes them."""
        return self.root / "dev/disk/by-id"

    @property
    def disk_socket(self) -> Path:
        """Where the privileged process listens."""
        return self.root / "run/disk.sock"

    @property
    def disk_lock(self) -> Path:
        """Held by whoever works at the data volume, also after the privileged process has ended."""
        return self.root / "run/disk.lock"

    @property
    def disk_memory(self) -> Path:
        """Which volume the privileged process mounts again after a boot; the guest cannot write it."""
        return self.root / "etc/coffer/disk.json"
