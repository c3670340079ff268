"""An instance with a second volume, server and port keeps them through every verb and the sweeps; a deletion takes all."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from activities.openstack.connection import Connections, name_of, name_of_part
from activities.openstack.leftovers import Leftover, Leftovers
from activities.records import PostgresRecords, RunQuestions
from activities.settings import ActivitySettings
from activities.sweeps import RepeatedSweeps
from contract.domain.operation import ResourceChanges, StepsNote
from contract.domain.resources import Part, Resource, ResourceKind
from records.settings import RecordsSettings
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SETTINGS = ActivitySettings(cloud="coffer", leftover_grace=0)


def make_second(instance_id: UUID) -> list[Resource]:
    """A volume, a port and a server of the second generation, as a rebuild on a new server will make them."""
    conn: Any = Connections("coffer", 20).get()
    server, port, volume = (Part(instance_id=instance_id, kind=kind, generation=2) for kind in
                            (ResourceKind.SERVER, ResourceKind.PORT, ResourceKind.VOLUME))  # fmt: skip
    first = next(iter(conn.compute.servers(details=True, name=name_of(instance_id))))
    network = next(iter(conn.network.ports(name=name_of(instance_id)))).network_id
    made_port = conn.network.create_port(name=name_of_part(port), network_id=network)
    made_volume = conn.block_storage.create_volume(name=name_of_part(volume), size=1)
    made = conn.compute.create_server(
        name=name_of_part(server), flavor_id=first.flavor.id, image_id=first.image.id, networks=[{"port": made_port.id}]
    )
    return [server.found(made.id), port.found(made_port.id), volume.found(made_volume.id)]


def there(resources: list[Resource]) -> set[str]:
    """Ids of those that OpenStack has."""
    conn: Any = Connections("coffer", 20).get()
    every = [*conn.compute.servers(), *conn.network.ports(), *conn.block_storage.volumes()]
    return {each.id for each in every} & {str(each.id) for each in resources}


async def learn(world: World, instance_id: UUID, resources: list[Resource]) -> None:
    """Have the records name them, as a step of a restart that finds them would."""
    async with world.held("stop_datastore") as held:
        run = await world.restart(instance_id)
        await held.arrived()
        (operation, *_) = await world.reader.list_operations(instance_id)
        fence = world.stack.sql("SELECT fence FROM operations WHERE id = %s", operation.id, database=world.database)[0][
            0
        ]
        note = StepsNote(
            operation_id=operation.id,
            fence=int(fence),
            learnt=(ResourceChanges(instance_id=instance_id, resources=tuple(resources)),),
        )
        records = PostgresRecords(world.engine, RunQuestions(world.client), RecordsSettings().default_quotas())
        await records.note_steps(note)
    await run.result()


class OfOne(Leftovers):
    """What OpenStack has of one instance: other tests have theirs."""

    def __init__(self, instance_id: UUID) -> None:
        super().__init__(Connections("coffer", 20))
        self._id = str(instance_id)

    def list_tagged(self) -> list[Leftover]:
        """Those of the instance."""
        return [each for each in super().list_tagged() if each.instance_id == self._id]


def make_zombie(instance_id: UUID) -> Resource:
    """A volume that an attempt of a lost operation has made: nobody names it."""
    conn: Any = Connections("coffer", 20).get()
    part = Part(instance_id=instance_id, kind=ResourceKind.VOLUME, generation=3)
    return part.found(conn.block_storage.create_volume(name=name_of_part(part), size=1).id)


async def test_they_stay_through_every_verb_and_sweep(world: World) -> None:
    instance_id = await world.created()
    second = await asyncio.to_thread(make_second, instance_id)
    ids = {str(each.id) for each in second}
    zombie = [await asyncio.to_thread(make_zombie, instance_id)]
    await learn(world, instance_id, second)
    assert await asyncio.to_thread(there, second) == ids

    async with world.held("stop_datastore") as held:  # interrupted, and put right
        run = await world.restart(instance_id)
        await held.arrived()
        await run.terminate("the test")
    await world.settle(instance_id)
    await world.ended(instance_id)
    sweeps = RepeatedSweeps(world.engine, world.client, OfOne(instance_id), SETTINGS)
    named = [f"volume {each.id} of {instance_id}" for each in zombie]
    assert await sweeps.sweep_leftovers() == named
    async with asyncio.timeout(30):
        while await asyncio.to_thread(there, zombie):
            await sweeps.sweep_leftovers()
    for _ in range(3):
        assert await sweeps.sweep_leftovers() == []
    assert await asyncio.to_thread(there, second) == ids

    await world.delete(instance_id)
    await world.ended(instance_id)
    assert world.instance(instance_id)["deleted"] is True
    await nothing_is_left(world, instance_id)
    assert await asyncio.to_thread(there, second) == set()
