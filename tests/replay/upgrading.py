"""What a guest of recordings says of upgrades to another series."""

from temporalio import activity

from contract.ports.guest import Fenced
from contract.ports.upgrading import UpgradeCheck, Upgrading
from tests.replay.script import Script


class PlainUpgrading(Upgrading):
    """A part of `PlainGuest`."""

    _script: Script

    @activity.defn
    def check_upgrade(self, order: UpgradeCheck) -> None:
        self._script.play()

    @activity.defn
    def keep_data(self, order: Fenced) -> None:
        self._script.play()

    @activity.defn
    def upgrade_data(self, order: Fenced) -> str:
        self._script.play()
        return self._script.runs
