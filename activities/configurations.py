"""The port `Configurations`, over PostgreSQL."""

from dataclasses import dataclass

from temporalio import activity

from contract.ports.configurations import (
    AttachedInstances,
    ConfigurationChange,
    ConfigurationName,
    Configurations,
    NewConfiguration,
    ParameterRule,
)
from records import configurations, parameters
from records.engine import AsyncEngine


@dataclass(frozen=True)
class PostgresConfigurations(Configurations):
    """One transaction an activity."""

    engine: AsyncEngine

    @activity.defn
    async def create_configuration(self, new: NewConfiguration) -> None:
        async with self.engine.begin() as conn:
            await configurations.create(conn, new)

    @activity.defn
    async def change_configuration(self, change: ConfigurationChange) -> AttachedInstances:
        async with self.engine.begin() as conn:
            return await configurations.change(conn, change)

    @activity.defn
    async def delete_configuration(self, which: ConfigurationName) -> None:
        async with self.engine.begin() as conn:
            await configurations.remove(conn, which)

    @activity.defn
    async def rule_parameter(self, rule: ParameterRule) -> None:
        async with self.engine.begin() as conn:
            await parameters.rule(conn, rule)
