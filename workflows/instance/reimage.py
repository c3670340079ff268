"""Runbook part: put a server on an image, with a new guest that adopts the data volume."""

from uuid import UUID

from temporalio.exceptions import FailureError

from contract.domain.errors import EngineFailed
from contract.domain.instance import DatastoreVersion, InstanceFacts, InstanceSpec
from contract.domain.resources import ResourceKind
from contract.names import CLOUD, RECORDS
from contract.ports.guest import CallGate, Fenced, Lifecycle, VolumeOrder
from contract.ports.identities import GuestExpectation, Identities
from contract.ports.images import ImageChoice, Images, Reimage
from contract.ports.records import Records, Watches
from workflows.instance.reconfigure import settings_of
from workflows.instance.resize_flavor import stop_engine
from workflows.member import Member
from workflows.steps import PROMPT, VOLUME, Steps, sentence

REASON = "the server of the instance is being rebuilt; please try again when that has ended"


async def known(instance_id: UUID) -> InstanceFacts:
    """What the records say before the admission."""
    return await Steps().ask(RECORDS, PROMPT, Records.find_instance, instance_id)


async def version_for(facts: InstanceFacts, wanted: str) -> DatastoreVersion:
    """A version of the instance's datastore, by name or id, before the admission; BadRequest where there is none."""
    spec = InstanceSpec(
        name=facts.name, datastore=str(facts.version.datastore_id), datastore_version=wanted, flavor=facts.flavor.id,
        volume_gib=facts.volume_gib,
    )  # fmt: skip
    return await Steps().ask(RECORDS, PROMPT, Records.find_version, spec)


async def image_for(version: DatastoreVersion, image: str | None = None) -> str:
    """The image's id, before the admission; refused where it is unknown, or not of the version."""
    request = ImageChoice(version=version, image=image)
    return await Steps().ask(CLOUD, PROMPT, Images.choose_image, request)


async def stop(member: Member) -> None:
    """Stop the engine cleanly."""
    await stop_engine(member, REASON)


async def start_again(member: Member) -> None:
    """Run the engine where the server was not touched."""
    await member.guest(Lifecycle.start_datastore, Fenced())
    await member.guest(CallGate.open_gate, Fenced())


async def put_on(member: Member, image_id: str, version: DatastoreVersion, attempt: int = 1) -> None:
    """Rebuild the server on the image, and run the version's engine on the data that is there."""
    await boot_on(member, image_id, version, attempt)
    await furnish(member, version)
    await member.records(Watches.start_watch, member.id)


async def boot_on(member: Member, image_id: str, version: DatastoreVersion, attempt: int = 1) -> None:
    """Rebuild the server on the image, with a new guest."""
    expectation = GuestExpectation(
        instance_id=member.id, operation_id=member.operation_id, fence=member.fence, attempt=attempt
    )
    generation = await member.records(Identities.expect_guest, expectation)
    order = Reimage(
        instance_id=member.id, server_id=member.server_id, image_id=image_id,
        manager=version.manager, datastore_version=version.number, generation=generation,
    )  # fmt: skip
    await member.cloud(Images.rebuild_server, order)
    await member.cloud(Images.require_server_rebuilt, order)


async def furnish(member: Member, version: DatastoreVersion) -> None:
    """Mount the volume, adopt what is on it, and run it; EngineFailed where another version runs than is said."""
    await adopt(member)
    info = await member.guest(Lifecycle.start_datastore, Fenced())
    require_version(info.engine_version or "", version)


async def adopt(member: Member) -> None:
    """Mount the volume and adopt what is on it: a copy of an older series' data where the guest is of that series."""
    volume_id = member.instance.current(ResourceKind.VOLUME)
    await member.guest(Lifecycle.prepare_volume, VolumeOrder(volume_id=volume_id), VOLUME)
    engine = settings_of(member).model_copy(update={"adopts": True})
    await member.guest(Lifecycle.initialise_datastore, engine, VOLUME)


def require_version(runs: str, version: DatastoreVersion) -> None:
    """The record must never say a version that does not run."""
    if not f"{runs}.".startswith(f"{version.number}."):
        raise EngineFailed(f"the image has {version.manager} {runs}, not {version.number}")


def and_then(error: BaseException, second: FailureError) -> str:
    """What went wrong, and what did on the way back."""
    first = sentence(error) if isinstance(error, FailureError) else "the operation was cancelled"
    return f"{first}; the way back failed, too: {sentence(second)}; an administrator can rebuild the instance"
