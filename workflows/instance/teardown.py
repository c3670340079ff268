"""Runbook part: delete whatever carries an instance's tag."""

from uuid import UUID

from temporalio import workflow

from workflows.names import CLOUD, RECORDS
from workflows.ports.cloud import Networks, Servers, Volumes
from workflows.ports.identities import Identities
from workflows.ports.records import Watches
from workflows.runbook import Runbook
from workflows.steps import POLL_LONG, QUICK, all_of, until


async def tear_down(runbook: Runbook) -> None:
    """Leave nothing of the instance; used by deletions and by creations that failed half-way alike."""
    runbook.steps.may_stop = False
    instance_id = runbook.instance_id
    async with runbook.step("end_watch"):
        await runbook.steps.ask(RECORDS, QUICK, Watches.end_watch, instance_id)
    # whoever still speaks from the server's place is not heard any more
    async with runbook.step("revoke_guest"):
        await runbook.steps.ask(RECORDS, QUICK, Identities.revoke_guest, instance_id)
    await _delete_resources(runbook, instance_id)
    if await _is_late(runbook):
        await _delete_resources(runbook, instance_id)


async def _is_late(runbook: Runbook) -> bool:
    """Wait until what was asked of the cloud and not waited for has come to its end; whether there was such a thing."""
    quiet_at = runbook.steps.quiet_at
    if quiet_at is None:
        return False
    async with runbook.step("wait_for_late_requests"):
        left = (quiet_at - workflow.now()).total_seconds()
        await until(lambda: runbook.steps.stopped, max(left, 0.001))
        runbook.steps.check_stop()
    return True


async def _delete_resources(runbook: Runbook, instance_id: UUID) -> None:
    # the server first: it holds volume and port, and stopping it is what ends the last writes
    async with runbook.step("delete_servers_of"):
        await runbook.steps.ask(CLOUD, POLL_LONG, Servers.delete_servers_of, instance_id)
    async with runbook.step("delete_volumes_and_ports_of"):
        await all_of(
            runbook.steps.ask(CLOUD, POLL_LONG, Volumes.delete_volumes_of, instance_id),
            runbook.steps.ask(CLOUD, POLL_LONG, Networks.delete_floating_ips_of, instance_id),
            runbook.steps.ask(CLOUD, POLL_LONG, Networks.delete_ports_of, instance_id),
        )
    async with runbook.step("delete_groups_of"):
        await all_of(
            runbook.steps.ask(CLOUD, POLL_LONG, Networks.delete_security_groups_of, instance_id),
            runbook.steps.ask(CLOUD, POLL_LONG, Servers.delete_server_groups_of, instance_id),
        )
