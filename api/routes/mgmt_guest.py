"""What administrators ask of an instance's guest itself, whatever its engine does."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api import views
from api.answers import guest as said
from api.calls import ShortCalls, short_calls_of
from api.context import RequestContext
from api.documented import READ, WRITE, answers, empty
from api.faults import Fault
from api.idempotency import Call
from api.requests import administrator
from api.routes.common import PREFIX, AppServices, instance_named
from contract.ports.inspection import Inspection

router = APIRouter(prefix=f"{PREFIX}/mgmt/instances/{{instance_id}}", tags=["management"])
Admin = Annotated[RequestContext, Depends(administrator)]


async def _guest(services: AppServices, context: Admin, instance_id: str) -> ShortCalls:
    """A dependency: the guest of any instance."""
    row = await instance_named(services, context, instance_id)
    return short_calls_of(services, context, row, Call(context.request_id))


Guest = Annotated[ShortCalls, Depends(_guest)]
FAULTS = (*READ, 422)


@router.get("/diagnostics", **answers(200, said.OneDiagnostics, faults=FAULTS))
async def show_diagnostics(guest: Guest) -> views.View:
    """The guest worker's process."""
    found = await guest.inspect(Inspection.get_diagnostics)
    shown = {
        "version": found.version,
        "threads": found.threads,
        "fdSize": found.fd_size,
        "vmSize": found.vm_size,
        "vmPeak": found.vm_peak,
        "vmRss": found.vm_rss,
        "vmHwm": found.vm_hwm,
    }
    return {"diagnostics": shown}


@router.get("/hwinfo", **answers(200, said.OneHardware, faults=FAULTS))
async def show_hardware(guest: Guest) -> views.View:
    """What the server has."""
    found = await guest.inspect(Inspection.get_hardware)
    return {"hwinfo": {"mem_total": found.mem_total, "num_cpus": found.num_cpus}}


@router.get("/rpc_ping", **answers(204, faults=FAULTS))
async def ping(guest: Guest) -> Response:
    """204 when the guest answers, else 503."""
    await guest.inspect(Inspection.ping)
    return empty(204)


@router.post("/upgrade", **answers(202, faults=WRITE))
async def upgrade_guest(request: Request, services: AppServices, context: Admin, instance_id: str) -> Response:
    """Refused: a guest is a part of its image."""
    await instance_named(services, context, instance_id)
    raise Fault(400, "A guest is upgraded with its image: rebuild the instance, or change its datastore_version.")
