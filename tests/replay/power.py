"""What Nova is asked for stops, starts, reboots and migrations, for recordings."""

from temporalio import activity

from contract.domain.servers import Migration
from contract.ports.cloud import Servers
from tests.replay.script import Script


class PlainPower(Servers):
    """A Nova that does as it is told."""

    _script: Script

    @activity.defn
    def require_server_stopped(self, server_id: str) -> None:
        self._script.play()

    @activity.defn
    def require_server_running(self, server_id: str) -> None:
        self._script.play()

    @activity.defn
    def reboot_server(self, server_id: str) -> None:
        self._script.play()

    @activity.defn
    def migrate_server(self, migration: Migration) -> None:
        self._script.play()

    @activity.defn
    def require_server_migrated(self, server_id: str) -> None:
        self._script.play()
