"""Taking an instance's data to another series of its engine, in its guest; see `guest` for what holds of every verb."""

from abc import ABC, abstractmethod

from temporalio import activity

from contract.ports.guest import Fenced


class UpgradeCheck(Fenced):
    """To which series the data is to be taken."""

    version: str


class Upgrading(ABC):
    """The engine's own upgrade, and the copy of the data before it; asked by runbooks alone, while the engine is stopped.

    A copy is of the series that its guest was made for. A guest of that series that adopts the data volume puts it back;
    the start of an engine that others are let in to removes copies of every series first.
    """

    @abstractmethod
    @activity.defn
    def check_upgrade(self, order: UpgradeCheck) -> None:
        """Look, while the engine serves, for what hinders it; EngineFailed with all that there is. Changes nothing."""

    @abstractmethod
    @activity.defn
    def keep_data(self, order: Fenced) -> None:
        """Copy the data directory beside itself, whole or not at all; EngineFailed where the volume has no room for it."""

    @abstractmethod
    @activity.defn
    def upgrade_data(self, order: Fenced) -> str:
        """Have the engine of this guest take over the data, with nobody let in, and stop it; return its version."""
