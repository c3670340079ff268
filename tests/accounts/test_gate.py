"""An operation shuts account calls out: what the API answers then, and that no death of the guest worker opens the gate."""

import asyncio
import signal
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from api.faults import Fault
from contract.domain.accounts import NewDatabase
from contract.ports.guest import Accounts, Fenced, GateOrder, NewDatabases
from tests.accounts.conftest import Host

COPIED = "the database is being copied"
ONE = NewDatabases(databases=(NewDatabase(name="one"),))


async def by_runbook(host: Host, verb: str, order: Fenced) -> None:
    """A step, as a runbook has it done."""
    client = await host.temporal.client()
    handle: Any = await client.start_activity(
        verb, order, id=f"call/{host.instance_id}/{uuid4()}", task_queue=f"guest/{host.instance_id}",
        schedule_to_close_timeout=timedelta(seconds=60), start_to_close_timeout=timedelta(seconds=60),
    )  # fmt: skip
    await handle.result()


async def test_the_tenant_reads_why_and_a_killed_guest_worker_opens_nothing(host: Host) -> None:
    fence = int(time.time())  # the engine's folder serves several tests: each is a newer operation
    await by_runbook(host, "close_gate", GateOrder(fence=fence, reason=COPIED))
    for kill in (False, True):
        if kill:
            await asyncio.to_thread(host.end, signal.SIGKILL)
            await asyncio.to_thread(host.start)
        with pytest.raises(Fault) as refused:
            await (await host.guests()).ask(Accounts.create_databases, ONE)
        assert refused.value.code == 422
        assert f"Nothing was changed: {COPIED}." in str(refused.value.message)
        assert (await (await host.guests()).ask(Accounts.list_databases)).databases == ()
    await by_runbook(host, "open_gate", Fenced(fence=fence))
    await (await host.guests()).ask(Accounts.create_databases, ONE)
    assert host.count("one") == (1, 0)
