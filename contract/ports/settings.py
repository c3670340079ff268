"""The engine's settings, in the database server. Defaults are asked for by the API, all else by runbooks."""

from abc import ABC, abstractmethod

from pydantic import Field
from temporalio import activity

from contract.domain.fact import Fact
from contract.ports.guest import EngineOrder


class SettingsReport(Fact):
    """Whether some of the settings count only from the engine's next start."""

    restart_required: bool = False


class Defaults(Fact):
    """What the engine is configured with where a tenant sets nothing."""

    settings: dict[str, str] = Field(default_factory=dict)


class Settings(ABC):
    """What a tenant has set of the engine. A guest takes only what the parameters of its version offer."""

    @abstractmethod
    @activity.defn
    def change_settings(self, order: EngineOrder) -> SettingsReport:
        """Have these settings and no others; what can change while the engine runs has changed when this returns.

        BadRequest for what is not offered, EngineFailed for what the engine refuses: then all is as it was.
        """

    @abstractmethod
    @activity.defn
    def get_defaults(self) -> Defaults: ...
