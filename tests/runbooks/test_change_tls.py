"""TLS is changed, or is as it was, over each step: refused, lost, cancelled, interrupted, deleted."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from temporalio.client import WorkflowFailureError

from contract.domain.changes import ChangeTlsOrder
from contract.domain.operation import Caller
from contract.domain.tls import SealedCertificate, Tls, TlsMode
from contract.keys.sealing import SecretBox
from contract.names import lock_id
from tests.runbooks.test_create import nothing_is_left
from tests.runbooks.test_delete_and_restart import with_a_row
from tests.runbooks.world import PROJECT, World
from tests.tls.certificates import Authority
from workflows.instance.change_tls import ChangeTls

pytestmark = pytest.mark.asyncio(loop_scope="session")

STEPS = ("get_health", "change_tls")
AUTHORITY = Authority()


def tls(world: World, instance_id: UUID, mode: TlsMode = TlsMode.ENFORCED) -> Tls:
    """A certificate for the guest's address."""
    found = AUTHORITY.server(world.guests[0].address)
    key = SecretBox(world.server.keyring, instance_id).seal(found.key)
    return Tls(mode=mode, certificate=SealedCertificate(chain=found.chain, ca=found.ca, key=key))


async def change(world: World, instance_id: UUID, wanted: Tls | None) -> Any:
    """Start a change; None: a rollback."""
    order = ChangeTlsOrder(instance_id=instance_id, operation_id=uuid4(), tls=wanted or Tls(), rollback=wanted is None,
                           caller=Caller(project_id=PROJECT, request_id="req-tls"))  # fmt: skip
    return await world.run(ChangeTls, order)


def recorded(world: World, instance_id: UUID) -> tuple[Any, Any]:
    """The modes that the records have: now, and that a rollback goes back to."""
    statement = "SELECT tls->>'mode', tls_before IS NOT NULL FROM instances WHERE id = %s"
    return world.stack.sql(statement, instance_id, database=world.database)[0]


def enters(world: World, tmp_path: Path, mode: str = "verify-full") -> bool:
    """Whether the tenant gets in, with the certificate checked or without TLS."""
    try:
        with psycopg.connect(host=world.guests[0].address, user="amy", password="secret", dbname="app", sslmode=mode,
                             sslrootcert=str(AUTHORITY.file(tmp_path)), connect_timeout=5):  # fmt: skip
            return True
    except psycopg.OperationalError:
        return False


def is_as_it_was(world: World, instance_id: UUID, tmp_path: Path) -> bool:
    """Whether there is no TLS, and everybody gets in."""
    state = (recorded(world, instance_id), enters(world, tmp_path, "disable"), enters(world, tmp_path))
    return state == ((None, False), True, False)


def is_enforced(world: World, instance_id: UUID, tmp_path: Path) -> bool:
    """Whether the new one counts."""
    state = (recorded(world, instance_id), enters(world, tmp_path, "disable"), enters(world, tmp_path))
    return state == (("enforced", True), False, True)


async def test_changed_rolled_back_and_kept_over_everything(world: World, tmp_path: Path) -> None:
    instance_id = await with_a_row(world)
    await (await change(world, instance_id, tls(world, instance_id))).result()
    assert is_enforced(world, instance_id, tmp_path)
    operation = (await world.reader.list_operations(instance_id))[0]
    assert (operation.kind, operation.state) == ("change_tls", "DONE")
    assert [each.name.replace(" ", "_") for each in operation.steps] == list(STEPS)
    for other in (world.restart, world.resize, world.rebuild):
        await (await other(instance_id)).result()
        assert is_enforced(world, instance_id, tmp_path), other.__name__
    await (await change(world, instance_id, None)).result()
    assert is_as_it_was(world, instance_id, tmp_path)
    assert "no earlier TLS" in await (await change(world, instance_id, None)).result()
    assert world.instance(instance_id)["status"] == "ACTIVE"


async def test_what_makes_no_sense_is_refused(world: World, tmp_path: Path) -> None:
    instance_id = await with_a_row(world)
    good = tls(world, instance_id)
    for wanted, why in (
        (Tls(mode=TlsMode.BASIC), "needs a certificate"),
        (Tls(mode=TlsMode.BUILTIN, certificate=good.certificate), "takes no certificate"),
        (Tls(certificate=good.certificate), "takes no certificate"),
    ):
        assert why in await (await change(world, instance_id, wanted)).result()
    assert is_as_it_was(world, instance_id, tmp_path)


@pytest.mark.parametrize("step", STEPS)
async def test_refuse_a_step_and_it_is_as_it_was(world: World, step: str, tmp_path: Path) -> None:
    instance_id = await with_a_row(world)
    await world.end_watch(instance_id)
    world.faults.refuse.add(step)
    with pytest.raises(WorkflowFailureError):
        await (await change(world, instance_id, tls(world, instance_id))).result()
    assert is_as_it_was(world, instance_id, tmp_path)
    assert (await world.reader.list_operations(instance_id))[0].state == "FAILED"
    await (await change(world, instance_id, tls(world, instance_id))).result()
    assert is_enforced(world, instance_id, tmp_path)


@pytest.mark.parametrize("step", ["change_tls", "admit", "note_steps", "close"])
async def test_lose_the_answer_of_a_step_and_it_is_done_once(world: World, step: str, tmp_path: Path) -> None:
    instance_id = await with_a_row(world)
    await world.end_watch(instance_id)
    world.faults.lose.add(step)
    await (await change(world, instance_id, tls(world, instance_id))).result()
    assert is_enforced(world, instance_id, tmp_path)


@pytest.mark.parametrize("step", STEPS)
async def test_cancel_and_it_is_as_it_was(world: World, step: str, tmp_path: Path) -> None:
    instance_id = await with_a_row(world)
    await world.end_watch(instance_id)

    async def cancel() -> None:
        await world.client.get_workflow_handle(lock_id(instance_id)).cancel()

    world.faults.at[step] = cancel
    with pytest.raises(WorkflowFailureError):
        await (await change(world, instance_id, tls(world, instance_id))).result()
    assert is_as_it_was(world, instance_id, tmp_path)


@pytest.mark.parametrize("step", [*STEPS, "close"])
async def test_end_the_run_at_a_step_and_it_is_settled(world: World, step: str, tmp_path: Path) -> None:
    instance_id = await with_a_row(world)
    async with world.held(step) as held:
        run = await change(world, instance_id, tls(world, instance_id))
        await held.arrived()
        await run.terminate("the test")
        await world.settle(instance_id)
    await world.ended(instance_id)
    assert world.open_operations(instance_id) == 0
    changed = recorded(world, instance_id)[0] is not None
    assert (is_enforced if changed else is_as_it_was)(world, instance_id, tmp_path)


@pytest.mark.parametrize("step", STEPS)
async def test_delete_it_at_a_step_and_nothing_is_left(world: World, step: str) -> None:
    instance_id = await world.created()
    await world.end_watch(instance_id)
    async with world.held(step) as held:
        await change(world, instance_id, tls(world, instance_id))
        await held.arrived()
        await asyncio.wait_for(world.delete(instance_id), 10)
    await world.ended(instance_id)
    await nothing_is_left(world, instance_id)
    assert recorded(world, instance_id) == (None, False)


async def test_the_guest_takes_no_certificate_that_is_none(world: World, tmp_path: Path) -> None:
    """Whatever a program orders."""
    instance_id = await with_a_row(world)
    good, other = tls(world, instance_id).certificate, tls(world, instance_id).certificate
    assert good is not None
    assert other is not None
    for wrong in (
        good.model_copy(update={"key": other.key}),
        good.model_copy(update={"chain": "none"}),
        good.model_copy(update={"key": SecretBox(world.server.keyring, uuid4()).seal("another guest's")}),
    ):
        with pytest.raises(WorkflowFailureError):
            await (await change(world, instance_id, Tls(mode=TlsMode.BASIC, certificate=wrong))).result()
        assert is_as_it_was(world, instance_id, tmp_path)
