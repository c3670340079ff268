"""A guest's side of its identity, before a real gateway: answers that are lost, and doors that stay shut."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from contract.domain.guest import Credentials, GuestBoot
from contract.files import write_private
from contract.keys.enrolment import hash_of_token
from gateway import certificates
from guest_worker import __main__ as guest_main
from guest_worker import identity
from guest_worker.identity import EnrolmentClient, EnrolmentRefused, GatewayAway, IdentityServiceClient
from guest_worker.paths import GuestPaths
from guest_worker.session import GuestSession
from guest_worker.settings import GuestSettings
from tests.guests import TestGuest
from tests.redteam.newcomers import Newcomer
from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def enrolled(world: World) -> TestGuest:
    """A guest at work."""
    await world.created()
    return world.guests[-1]


def lose_one_answer(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """The gateway hears the question and does what it asks; what it says does not come back, once."""
    ask, lost = IdentityServiceClient.ask, [verb]

    def losing(self: IdentityServiceClient, said: str, question: BaseModel | None, token: str = "") -> Credentials:
        answer = ask(self, said, question, token)
        if said in lost:
            lost.remove(said)
            raise GatewayAway("the test loses this answer")
        return answer

    monkeypatch.setattr(IdentityServiceClient, "ask", losing)


async def do(guest: TestGuest, verb: str) -> None:
    """One verb of the guest's, as its child process does it."""
    await asyncio.to_thread(getattr(EnrolmentClient(guest.settings.paths), verb))


def hashes(world: World, guest: TestGuest) -> tuple[Any, ...]:
    """What the records know the guest by."""
    return world.stack.sql("SELECT token_hash, previous_hash FROM guest_identities WHERE instance_id = %s",
                           guest.instance_id, database=world.database)[0]  # fmt: skip


async def test_lose_the_answer_of_an_enrolment_and_there_is_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enrolled(world)
    newcomer = await Newcomer.expected(world)
    paths = booted(world, newcomer, tmp_path)
    exchange = EnrolmentClient(paths)
    lose_one_answer(monkeypatch, "Enrol")
    with pytest.raises(GatewayAway):
        await asyncio.to_thread(exchange.enrol)
    chosen = identity.require(paths).token
    await asyncio.to_thread(exchange.enrol)
    known = identity.require(paths)
    assert (known.token, known.credentials is not None) == (chosen, True)
    assert newcomer.known_by("token_hash") == hash_of_token(chosen)
    assert newcomer.known_by("doubles") == 0
    await newcomer.leave()


async def test_an_enrolment_whose_answer_was_lost_until_the_ticket_had_ended(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token counts, so the guest is let in with it."""
    await enrolled(world)
    newcomer = await Newcomer.expected(world)
    paths = booted(world, newcomer, tmp_path)
    exchange = EnrolmentClient(paths)
    lose_one_answer(monkeypatch, "Enrol")
    with pytest.raises(GatewayAway):
        await asyncio.to_thread(exchange.enrol)
    await newcomer.sql("UPDATE guest_identities SET enrol_until = now() WHERE instance_id = %s", newcomer.instance_id)
    await asyncio.to_thread(exchange.enrol)
    assert identity.require(paths).credentials is not None
    await newcomer.leave()


async def test_a_guest_that_was_never_enrolled_is_refused_for_its_ticket(world: World, tmp_path: Path) -> None:
    await enrolled(world)
    newcomer = await Newcomer.expected(world)
    await newcomer.sql("UPDATE guest_identities SET enrol_until = now() WHERE instance_id = %s", newcomer.instance_id)
    with pytest.raises(EnrolmentRefused, match="does not count"):
        await asyncio.to_thread(EnrolmentClient(booted(world, newcomer, tmp_path)).enrol)
    await newcomer.leave()


def booted(world: World, newcomer: Newcomer, folder: Path) -> GuestPaths:
    """The files of a server that was built for a newcomer and has not enrolled yet."""
    settings = GuestSettings(root=folder)
    boot = GuestBoot(instance_id=newcomer.instance_id, gateway=world.gateway.address, namespace="coffer",
                     datastore="postgresql", version="15", generation=newcomer.generation, ca=world.gateway.ca,
                     ticket=newcomer.ticket)  # fmt: skip
    write_private(settings.paths.boot_file, boot.model_dump_json())
    return settings.paths


async def test_lose_the_answer_of_a_change_and_the_token_is_changed_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = await enrolled(world)
    old = identity.require(guest.settings.paths).token
    lose_one_answer(monkeypatch, "Renew")
    with pytest.raises(GatewayAway):
        await do(guest, "renew")
    chosen = identity.require(guest.settings.paths).next_token
    await do(guest, "renew")
    known = identity.require(guest.settings.paths)
    assert (known.token, known.next_token) == (chosen, None)
    assert hashes(world, guest) == (hash_of_token(known.token), hash_of_token(old))


async def test_an_answer_that_was_lost_long_ago_is_found_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old token counts no more when the guest comes back; the one that it had chosen does."""
    guest = await enrolled(world)
    lose_one_answer(monkeypatch, "Renew")
    with pytest.raises(GatewayAway):
        await do(guest, "renew")
    await world.write(
        "UPDATE guest_identities SET previous_until = clock_timestamp() WHERE instance_id = %s", guest.instance_id
    )
    await asyncio.sleep(1)  # the gateway believes what it saw for half a second here
    chosen = identity.require(guest.settings.paths).next_token
    await do(guest, "keys")
    assert identity.require(guest.settings.paths).token == chosen


async def test_the_worker_speaks_with_its_new_token_at_once(world: World) -> None:
    """The old one is forgotten by the records; a call is answered all the same."""
    guest = await enrolled(world)
    assert guest.session is not None
    await asyncio.to_thread(guest.session.renew)
    await world.write(
        "UPDATE guest_identities SET previous_until = clock_timestamp() WHERE instance_id = %s", guest.instance_id
    )
    await asyncio.sleep(1)
    run = await world.restart(guest.instance_id)
    await asyncio.wait_for(run.result(), 30)


async def test_a_gateway_of_another_ca_is_not_believed(world: World, tmp_path: Path) -> None:
    guest = await enrolled(world)
    certificates.make(tmp_path, ["127.0.0.1"])
    paths = guest.settings.paths
    known = identity.require(paths)
    assert known.credentials is not None
    other = known.credentials.model_copy(update={"ca": (tmp_path / "ca.pem").read_text()})
    write_private(paths.identity, known.model_copy(update={"credentials": other}).model_dump_json())
    with pytest.raises(GatewayAway):
        await do(guest, "keys")


async def test_a_server_without_a_ticket_keeps_its_engine_and_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = GuestSettings(root=tmp_path)
    boot = GuestBoot.model_validate(
        {"instance_id": "00000000-0000-4000-8000-000000000001", "gateway": "127.0.0.1:1", "namespace": "coffer",
         "datastore": "mariadb", "version": "10.11"}
    )  # fmt: skip
    write_private(settings.paths.boot_file, boot.model_dump_json())
    exchange = EnrolmentClient(settings.paths)
    session = GuestSession(settings, boot, lambda verb: getattr(exchange, verb)())
    with pytest.raises(EnrolmentRefused, match="order the instance again"):
        session.join()
    stop = asyncio.Event()
    dialling = asyncio.create_task(guest_main.dial(session, stop))
    for _ in range(200):
        if "refuses this guest" in caplog.text:
            break
        await asyncio.sleep(0.05)
    assert "order the instance again" in caplog.text
    assert not dialling.done()
    stop.set()
    assert await asyncio.wait_for(dialling, 5) is None
