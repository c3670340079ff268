"""Logs of an instance: what there is, switching, and publishing to the Swift of the caller's project."""

import asyncio
import time
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from api import views
from api.answers import logs as said
from api.calls import ShortCalls
from api.documented import WRITE, answers, takes
from api.faults import Fault
from api.models.logs import LogBody
from api.requests import body_of
from api.routes.common import PREFIX, AppServices, short_calls, swift_account
from api.swift.containers import SECONDS
from contract.domain.datastores.base import GUEST_LOG, LogKind
from contract.ports.logs import LogOrder, LogPublication, LogReport, Logs

router = APIRouter(prefix=f"{PREFIX}/instances/{{instance_id}}", tags=["logs"])
Calls = Annotated[ShortCalls, Depends(short_calls("instance:guest_log_list"))]
LEAST = 4.0  # seconds that a guest is given, however long Swift took


@router.get("/log", **answers(200, said.Logs, WRITE))
async def list_logs(services: AppServices, calls: Calls) -> views.View:
    """The instance's logs; that of the guest is for administrators alone."""
    told = {each.name: each for each in (await calls.inspect(Logs.list_logs)).logs}
    names = [name for name in sorted(calls.facts.logs) if name in told and _is_for(calls, name)]
    return {"logs": [_view(services.logs.name, calls, told[name]) for name in names]}


@router.post("/log", **answers(200, said.OneLog, faults=(*WRITE, 501)), **takes(LogBody))
async def change_log(
    request: Request, services: AppServices, calls: Calls, body: Annotated[LogBody, Depends(body_of(LogBody))]
) -> views.View:
    """Show a log; or enable, disable, discard or publish it before. To publish a log enables it."""
    _check(calls, body)
    began = time.monotonic()
    order = LogOrder(name=body.name, enable=_wanted(calls, body), discard=body.discard)
    if body.discard or body.publish:
        try:
            async with asyncio.timeout(SECONDS):
                order = order.model_copy(update={"publish": await _prepare(request, services, calls, body)})
        except TimeoutError:
            raise Fault(503, "The object store does not answer; please try again.") from None
    left = max(LEAST, calls.seconds - (time.monotonic() - began))
    report = await replace(calls, seconds=left).inspect(Logs.change_log, order)
    return {"log": _view(services.logs.name, calls, report.model_copy(update={"name": body.name}))}


async def _prepare(request: Request, services: AppServices, calls: ShortCalls, body: LogBody) -> LogPublication | None:
    """Do what the caller's token is needed for: empty the place, or make it, and a ticket to it."""
    account = await swift_account(request, services, services.logs)
    folder = _folder(calls, body.name)
    if body.discard and not calls.call.known:
        await services.logs.empty(account, folder)
    if not body.publish:
        return None
    ticket = await services.logs.ticket(account, calls.instance.id)
    return LogPublication(
        ticket=ticket, folder=folder.removeprefix(ticket.prefix), seconds=services.settings.log_expiry
    )


def _check(calls: ShortCalls, body: LogBody) -> None:
    kind = calls.facts.logs.get(body.name)
    if kind is None:
        raise Fault(404, f"Log '{body.name}' is not defined.")
    if not _is_for(calls, body.name):
        raise Fault(403, f"You do not have access to log '{body.name}': it is for administrators.")
    if kind is LogKind.SYS and (body.enable or body.disable):
        word = "enable" if body.enable else "disable"
        raise Fault(400, f"Cannot {word} a SYSTEM log ('{body.name}').")


def _is_for(calls: ShortCalls, name: str) -> bool:
    return name != GUEST_LOG or calls.context.is_admin


def _wanted(calls: ShortCalls, body: LogBody) -> bool | None:
    """Whether the log is to be written from now on; None: as before."""
    if body.disable:
        return False
    may_be_off = calls.facts.logs[body.name] is LogKind.USER
    return True if body.enable or (body.publish and may_be_off) else None


def _folder(calls: ShortCalls, name: str) -> str:
    return f"{calls.instance.id}/{calls.instance.manager}-{name}"


def _view(container: str, calls: ShortCalls, log: LogReport) -> views.View:
    kind, folder = calls.facts.logs[log.name], _folder(calls, log.name)
    return {
        "name": log.name,
        "type": kind.value,
        "status": _status(kind, log),
        "published": log.published,
        "pending": log.pending,
        "container": container if log.published else "None",
        "prefix": f"{folder}/" if log.published else "None",
        "metafile": f"{folder}_metafile",
    }


def _status(kind: LogKind, log: LogReport) -> str:
    """Trove's words."""
    if kind is LogKind.USER and not log.enabled:
        return "Disabled"
    if log.lost:
        return "Rotated"
    if log.pending:
        return "Partial" if log.published else "Ready"
    if log.published:
        return "Published"
    return "Enabled" if kind is LogKind.USER else "Unavailable"
