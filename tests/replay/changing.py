"""Scenes of the operations that change an instance: see `record`."""

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from contract.domain.changes import RebuildOrder, ResizeVolumeOrder, UpgradeOrder
from contract.domain.errors import EngineFailed, ResourceFailed, Unsupported
from contract.domain.operation import Caller, ResizeFlavorOrder
from tests.replay.facts import SERIES
from workflows.instance.rebuild import RebuildInstance
from workflows.instance.resize_flavor import ResizeFlavor
from workflows.instance.resize_volume import ResizeVolume
from workflows.instance.upgrade import UpgradeInstance

if TYPE_CHECKING:
    from tests.replay.stage import Stage

CALLER = Caller(project_id="project", user_id="amy", request_id="req-1")


def resize(instance_id: UUID) -> ResizeFlavorOrder:
    """An order for another flavor."""
    return ResizeFlavorOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER, flavor="m1.small")


async def resizes(stage: "Stage") -> None:
    """A resize; and one that is reverted because the engine does not start on the new flavor."""
    async with stage.guest() as instance_id:
        await stage.keep("resize-flavor", await stage.operate(ResizeFlavor, resize(instance_id)), "completed")
        stage.script.refuse("start_datastore", EngineFailed("the engine does not start"))
        await stage.keep("resize-flavor-reverted", await stage.operate(ResizeFlavor, resize(instance_id)), "failed")


def growth(instance_id: UUID) -> ResizeVolumeOrder:
    """An order for a larger volume."""
    return ResizeVolumeOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER, size_gib=2)


async def growths(stage: "Stage") -> None:
    """A larger volume; one that Cinder cannot make; and one whose file system grows only at rest."""
    async with stage.guest() as instance_id:
        await stage.keep("resize-volume", await stage.operate(ResizeVolume, growth(instance_id)), "completed")
        stage.script.refuse("require_volume_extended", ResourceFailed("the cloud could not grow the volume"))
        await stage.keep("resize-volume-failed", await stage.operate(ResizeVolume, growth(instance_id)), "failed")
        stage.script.refuse("prepare_volume", Unsupported("the file system cannot be grown while it is in use"))
        await stage.keep("resize-volume-stopped", await stage.operate(ResizeVolume, growth(instance_id)), "completed")


def rebuilding(instance_id: UUID) -> RebuildOrder:
    """An order for another image."""
    return RebuildOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER, image="new-image")


async def rebuilds(stage: "Stage") -> None:
    """Another image; and one whose engine does not start, so that the server goes back."""
    async with stage.guest() as instance_id:
        await stage.keep("rebuild", await stage.operate(RebuildInstance, rebuilding(instance_id)), "completed")
        stage.script.refuse("start_datastore", EngineFailed("the engine does not start"))
        await stage.keep("rebuild-failed", await stage.operate(RebuildInstance, rebuilding(instance_id)), "failed")


async def upgrades(stage: "Stage") -> None:
    """Another version."""
    async with stage.guest() as instance_id:
        order = UpgradeOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER, version="15")
        await stage.keep("upgrade", await stage.operate(UpgradeInstance, order), "completed")


async def changes_of_series(stage: "Stage") -> None:
    """Another series; one whose data cannot be taken over, so that it goes back; and one that starts at the second try."""
    records, before = stage.records, stage.records.version
    records.version, records.wanted = SERIES
    async with stage.guest() as instance_id:
        for name, step in (("", ""), ("-failed", "upgrade_data"), ("-forward", "start_datastore")):
            stage.script.runs = SERIES[step != "upgrade_data"].number
            if step:
                stage.script.refuse(step, EngineFailed("the test refuses"))
            order = UpgradeOrder(instance_id=instance_id, operation_id=uuid4(), caller=CALLER, version=SERIES[1].name)
            handle = await stage.operate(UpgradeInstance, order)
            await stage.keep(f"upgrade-series{name}", handle, "failed" if step else "completed")
    records.version = records.wanted = before
    stage.script.runs = before.number


SCENES = (resizes, growths, rebuilds, upgrades, changes_of_series)
