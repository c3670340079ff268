"""`python -m gateway check`: it answers in time whoever else is connected, and fails where no gateway serves."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from api.health import Health
from gateway import certificates, front
from gateway.__main__ import check
from gateway.link import Link
from tests.gateway.test_front import Stand, stand
from tests.temporal import free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one loop


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::", "localhost"])
async def test_checks_do_not_wait_behind_a_flood_from_this_machine(tmp_path: Path, host: str) -> None:
    """The operator's, and the API's."""
    async with stand(tmp_path, gateway_host=host) as there:
        assert await asyncio.to_thread(check, there.settings) == 0
        crowd = [await there.tcp() for _ in range(500)]
        one_more = asyncio.create_task(there.tls())
        await asyncio.sleep(0.5)
        began = time.monotonic()
        assert await asyncio.to_thread(check, there.settings) == 0
        await health(there)._gateway()
        assert time.monotonic() - began < 8  # a crowd waits for 15 s
        assert not one_more.done()
        one_more.cancel()
        for _, writer in crowd:
            writer.transport.abort()


def health(there: Stand) -> Health:
    """Of an API that names the gateway as operators write it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(there.settings.gateway_host, there.settings.gateway_host)
    nobody: Any = None
    return Health(nobody, nobody, nobody, "", f"[{host}]:{there.port}" if ":" in host else f"{host}:{there.port}")


async def test_a_check_does_not_wait_for_strangers_of_many_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All places of strangers are taken, and all of their processor time."""
    monkeypatch.setattr(front, "ALL_STRANGERS_SHARE", 0.001)
    async with stand(tmp_path, gateway_strangers=20) as there:
        sources = [(f"127.0.8.{number}", 0) for number in range(1, 41)]
        crowd = [await asyncio.open_connection("127.0.0.1", there.port, local_addr=each) for each in sources]
        async with asyncio.timeout(5):
            while len(there.front._strangers) + len(there.front._waiting) < 40:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.05)
        assert there.front._all_strangers.spend(1000) > 0
        assert await asyncio.to_thread(check, there.settings) == 0
        assert len(there.front._waiting) > 0
        for _, writer in crowd:
            writer.transport.abort()


@pytest.mark.parametrize("wrong", ["ca", "port", "silence"])
async def test_a_check_fails_where_no_gateway_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    """Another's certificate, nobody who listens, a gateway that lets nobody in any more."""
    monkeypatch.setattr("gateway.__main__.CHECK_SECONDS", 1.0)
    ignored: list[Link] = []
    async with stand(tmp_path) as there:
        settings = there.settings
        if wrong == "ca":
            certificates.make(tmp_path / "other", ["127.0.0.1"])
            settings = settings.model_copy(update={"gateway_ca": tmp_path / "other/ca.pem"})
        elif wrong == "port":
            settings = settings.model_copy(update={"gateway_port": free_port()})
        else:
            monkeypatch.setattr(there.front, "arrived", ignored.append)
        assert await asyncio.to_thread(check, settings) == 1
        for each in ignored:
            each.cut()
