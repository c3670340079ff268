"""Which part of the service is away: what `/healthcheck` answers. Without a login, so it tells no more than that."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

import httpx
from temporalio.client import Client, ScheduleActionExecutionStartWorkflow

from contract.checks import route
from contract.names import RECORDS, sweep_id
from contract.ports.records import Administration
from records.reads import Reader

SECONDS = 1.5  # that a part has to answer in
SWEEP = "settle_stale_operations"  # the most frequent one
KEPT = 2.0  # seconds: whoever asks more often hears the same again
RPC = timedelta(seconds=SECONDS)


@dataclass
class Health:
    """Asks each part something that it can only answer when it works."""

    temporal: Client
    reader: Reader
    http: httpx.AsyncClient
    keystone_url: str
    gateway: str
    _asked: float = field(default=-KEPT, init=False)
    _found: dict[str, str] = field(default_factory=dict, init=False)
    _door: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def parts(self) -> dict[str, str]:
        """`ok` or `away` for each part."""
        async with self._door:
            if time.monotonic() - self._asked >= KEPT:
                self._found = await self._ask_all()
                self._asked = time.monotonic()
        return self._found

    async def _ask_all(self) -> dict[str, str]:
        questions = {
            "records": self.reader.check,
            "temporal": self._temporal,
            "workflow_worker": self._workflow_worker,
            "activity_worker": self._activity_worker,
            "keystone": self._keystone,
        } | ({"gateway": self._gateway} if self.gateway else {})
        answers = await asyncio.gather(*(_answers(each) for each in questions.values()))
        return {name: "ok" if good else "away" for name, good in zip(questions, answers, strict=True)}

    async def _temporal(self) -> None:
        await self.temporal.service_client.check_health(timeout=RPC)

    async def _workflow_worker(self) -> None:
        """It answers questions about runs; the sweep's run is always there."""
        schedule = await self.temporal.get_schedule_handle(sweep_id(SWEEP)).describe(rpc_timeout=RPC)
        begun = schedule.info.recent_actions[-1].action
        assert isinstance(begun, ScheduleActionExecutionStartWorkflow)  # noqa: S101 - schedules start nothing else
        run = self.temporal.get_workflow_handle(begun.workflow_id)
        await run.query("__stack_trace", rpc_timeout=RPC)

    async def _activity_worker(self) -> None:
        await self.temporal.execute_activity(
            Administration.check.__name__,
            id=f"healthcheck/{uuid4()}",
            task_queue=RECORDS,
            schedule_to_close_timeout=RPC,
            rpc_timeout=RPC,
        )

    async def _keystone(self) -> None:
        (await self.http.get(self.keystone_url, timeout=SECONDS)).raise_for_status()

    async def _gateway(self) -> None:
        """It answers a handshake; who it is does not matter here."""
        host, _, port = self.gateway.rpartition(":")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        host, source = await asyncio.to_thread(route, host)
        _, writer = await asyncio.open_connection(host, int(port), ssl=context, local_addr=source)
        writer.close()


async def _answers(question: Callable[[], Awaitable[None]]) -> bool:
    """Whether an answer comes in time; who is asked may take long to hear that nobody waits any more."""
    asking = asyncio.ensure_future(question())
    await asyncio.wait([asking], timeout=SECONDS)
    if asking.done():
        return asking.exception() is None
    asking.add_done_callback(lambda late: late.cancelled() or late.exception())
    asking.cancel()
    return False
