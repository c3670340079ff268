"""A guest follows the gateway while it runs: to another token, to another CA."""

import asyncio
from pathlib import Path

import pytest

from contract.ports.guest import DatabaseList
from contract.wire.answers import from_guest
from gateway import certificates
from guest_worker.__main__ import keep_believing
from tests.redteam.scenario import ask
from tests.runbooks.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_guest_answers_when_the_gateway_has_a_certificate_of_another_ca(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance_id = await world.created()
    guest, settings = world.guests[-1], world.gateway.settings
    assert guest.session is not None
    assert guest.worker is not None
    monkeypatch.setattr("guest_worker.__main__.LOOK_EVERY", 0.2)
    stop = asyncio.Event()
    believing = asyncio.create_task(keep_believing(guest.session, guest.worker, stop))

    certificates.make(tmp_path, ["127.0.0.1", "localhost"])
    old = settings.gateway_ca.read_text()
    settings.gateway_ca.write_text(old + (tmp_path / "ca.pem").read_text())
    known = guest.session.client
    await asyncio.to_thread(guest.session.renew)
    for _ in range(100):
        await asyncio.sleep(0.1)
        if guest.session.client is not known:
            break
    assert guest.worker.client is guest.session.client is not known

    for name, path in (("key", settings.gateway_key), ("cert", settings.gateway_cert), ("ca", settings.gateway_ca)):
        path.write_bytes((tmp_path / f"{name}.pem").read_bytes())
    await asyncio.to_thread(world.gateway.end)  # connections that are open would go on
    await asyncio.to_thread(world.gateway.start)
    raw = await asyncio.wait_for((await ask(world, instance_id, "list_databases")).result(), 30)
    assert "app" in from_guest(raw, instance_id, DatabaseList).databases
    stop.set()
    await believing


async def test_a_new_token_counts_at_once(world: World) -> None:
    instance_id = await world.created()
    session = world.guests[-1].session
    assert session is not None
    for _ in range(3):
        await asyncio.to_thread(session.renew)
        raw = await asyncio.wait_for((await ask(world, instance_id, "list_databases")).result(), 10)
        assert "app" in from_guest(raw, instance_id, DatabaseList).databases
