"""Half requests, slow ones and many, before a real server: they are ended, and others are served meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from api import http_limits
from api.http_limits import HttpLimits
from api.http_server import serve_http
from tests.temporal import free_port

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and say how long it was."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await asyncio.sleep(float(scope["query_string"] or 0))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@asynccontextmanager
async def served(limits: HttpLimits | None = None) -> AsyncIterator[int]:
    """Serve it on a port."""
    port, stop = free_port(), asyncio.Event()
    serving = asyncio.create_task(serve_http(app, "127.0.0.1", port, stop, limits))
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.05)
    try:
        yield port
    finally:
        stop.set()
        await serving


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times that a test can wait for."""
    for name, seconds in (("HEADER_SECONDS", 1.0), ("IDLE_SECONDS", 2.0), ("BODY_SECONDS", 3.0), ("TICK", 0.1)):
        monkeypatch.setattr(http_limits, name, seconds)


async def seconds_until_hung_up(port: int, first: bytes, then: bytes = b"", every: float = 0.2) -> float:
    """Send something, then a byte again and again, until the server has had enough."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    writer.write(first)
    ended = asyncio.create_task(reader.read())
    while not ended.done() and time.monotonic() - began < 12:
        if then:
            writer.write(then)
        await asyncio.wait([ended], timeout=every)
    writer.transport.abort()
    await asyncio.gather(ended, return_exceptions=True)
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("first", "then", "least", "most"),
    [
        (b"", b"", 0.9, 8),
        (b"P", b"", 0.9, 8),
        (HEAD, b"", 0.9, 8),
        (HEAD + b"X-Much: ", b"y", 0.9, 8),
        (b"\r\n", b"\r\n", 0.9, 8),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"", 1.9, 8),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x", 2.9, 8),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 2.9, 8),
        (HEAD + b"X-Much: " + b"y" * 1_000_000, b"", 0, 0.9),
    ],
    ids=["nothing", "a letter", "half a head", "a head byte by byte", "empty lines", "no body", "a body byte by byte",
         "chunks", "a head without end"],
)  # fmt: skip
async def test_a_half_request_is_ended(first: bytes, then: bytes, least: float, most: float) -> None:
    async with served() as port:
        assert least <= await seconds_until_hung_up(port, first, then) < most


async def test_an_honest_request_may_be_slow_and_be_answered_late() -> None:
    """A body that comes in pieces; an answer that takes longer than any limit of requests; and another one after it."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 100
            await asyncio.sleep(0.5)

    async with served() as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        assert (await client.post("/", content=body())).text == "400"
        assert (await client.post("/?4", content=b"x")).text == "1"
        assert (await client.post("/", content=bytes(300_000))).text == "300000"


@pytest.mark.parametrize("of_one_address", [50, 1000])
async def test_many_half_requests_keep_nobody_out(of_one_address: int) -> None:
    """From the same address as the honest client; what is being answered is not ended for them."""
    limits = HttpLimits(connections=60, of_one_address=of_one_address)
    async with served(limits) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        under_way = asyncio.create_task(client.post("/?1.5", content=b"x"))
        await asyncio.sleep(0.3)
        halves = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        for _, writer in halves:
            writer.write(HEAD)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5) as other:
            assert (await other.post("/", content=b"xy")).text == "2"
        assert (await under_way).text == "1"
        await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in halves), return_exceptions=True), 5)
        for _, writer in halves:
            writer.transport.abort()
