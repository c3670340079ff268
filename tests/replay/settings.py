"""The ports of settings and configuration groups, for recordings, and what is recorded of them."""

from typing import Any
from uuid import UUID, uuid4

from temporalio import activity

from contract.domain.errors import EngineFailed, NotFound
from contract.domain.operation import Caller
from contract.domain.reconfiguring import ReconfigureOrder
from contract.ports.configurations import (
    AttachedInstance,
    AttachedInstances,
    ConfigurationChange,
    ConfigurationName,
    Configurations,
    NewConfiguration,
    ParameterRule,
    configuration_id,
)
from contract.ports.guest import EngineOrder
from contract.ports.settings import Defaults, Settings, SettingsReport
from tests.replay.script import Script
from workflows.configuration import ChangeConfiguration
from workflows.instance.reconfigure import ReconfigureInstance

CALLER = Caller(project_id="project", user_id="amy", request_id="req-1")


class PlainSettings(Settings):
    """A guest whose engine needs a restart for its settings."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn
    def change_settings(self, order: EngineOrder) -> SettingsReport:
        self._script.play()
        return SettingsReport(restart_required=True)

    @activity.defn
    def get_defaults(self) -> Defaults:
        return Defaults()


class PlainConfigurations(Configurations):
    """Groups that one instance has."""

    def __init__(self, script: Script) -> None:
        self._script = script

    @activity.defn
    async def create_configuration(self, new: NewConfiguration) -> None:
        self._script.play()

    @activity.defn
    async def change_configuration(self, change: ConfigurationChange) -> AttachedInstances:
        self._script.play()
        one = AttachedInstance(instance_id=UUID(int=7), group_id=UUID(int=7))
        return AttachedInstances(instances=(one,))

    @activity.defn
    async def delete_configuration(self, which: ConfigurationName) -> None:
        self._script.play()

    @activity.defn
    async def rule_parameter(self, rule: ParameterRule) -> None:
        self._script.play()


async def reconfigurations(stage: Any) -> None:
    """Other settings; and some that the engine refuses."""
    async with stage.guest() as instance_id:
        order = ReconfigureOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER)
        await stage.keep("reconfigure", await stage.operate(ReconfigureInstance, order), "completed")
        stage.script.refuse("change_settings", EngineFailed("the engine refuses"))
        order = order.model_copy(update={"operation_id": uuid4()})
        await stage.keep("reconfigure-refused", await stage.operate(ReconfigureInstance, order), "failed")


async def change_of_a_group(stage: Any) -> None:
    """A group that one instance has, whose order waits for nobody here; and one that is gone."""
    change = ConfigurationChange(id=uuid4(), caller=CALLER, values={"jit": True})
    name = configuration_id(change.id, CALLER.request_id)
    await stage.keep("change-configuration", await stage.start(ChangeConfiguration, change, name), "completed")
    stage.script.refuse("change_configuration", NotFound("Resource cannot be found."))
    handle = await stage.start(ChangeConfiguration, change, name)
    await stage.keep("change-configuration-refused", handle, "completed")
