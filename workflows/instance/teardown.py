"""Runbook part: delete whatever carries an instance's tag."""

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.backups import BackupChange, BackupStatus
from contract.ports.backup_objects import BackupObjects
from contract.ports.cloud import Networks, Servers
from contract.ports.identities import Identities
from contract.ports.records import Watches
from contract.ports.volumes import Volumes
from workflows.member import Member
from workflows.steps import all_of, lost_fence, sentence, until


async def tear_down(member: Member) -> None:
    """Leave nothing of the instance; used by deletions and by creations that failed half-way alike."""
    member.steps.point_of_no_return()
    await member.records(Watches.end_watch, member.id)
    # whoever still speaks from the server's place is not heard any more
    await member.records(Identities.revoke_guest, member.id)
    await _delete_resources(member)
    if await _is_late(member):
        await _delete_resources(member)
    await drop_backup(member, "the instance was deleted before the backup was complete")


async def drop_backup(member: Member, why: str) -> None:
    """Delete what is stored of a backup that will not be complete; its record says why, and where something is left."""
    backup = member.backup
    if backup is None:
        return
    try:
        await member.cloud(BackupObjects.delete_backup, backup)
    except FailureError as left:
        if lost_fence(left):
            raise
        why = f"{why}; what was stored of it is left ({sentence(left)})"
    member.learn(backup=BackupChange(id=backup.id, status=BackupStatus.FAILED, reason=why))


async def _is_late(member: Member) -> bool:
    """Wait until what was asked of the cloud and not waited for has come to its end; whether there was such a thing."""
    quiet_at = member.steps.quiet_at
    if quiet_at is None:
        return False
    async with member.step("wait_for_late_requests"):
        left = (quiet_at - workflow.now()).total_seconds()
        await until(lambda: member.steps.stopped, max(left, 0.001))
        member.steps.check_stop()
    return True


async def _delete_resources(member: Member) -> None:
    belongings = member.instance.belongings
    # the server first: it holds volume and port, and stopping it is what ends the last writes
    await member.cloud(Servers.delete_servers_of, belongings)
    await all_of(
        member.cloud(Volumes.delete_volumes_of, belongings),
        member.cloud(Networks.delete_floating_ips_of, belongings),
        member.cloud(Networks.delete_ports_of, belongings),
    )
    await all_of(
        member.cloud(Networks.delete_security_groups_of, belongings),
        member.cloud(Servers.delete_server_groups_of, belongings),
    )
