"""`/instances/{id}/ssl`: who must encrypt, and which certificate the database shows."""

import asyncio
import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from api.answers import ssl as said
from api.context import RequestContext, Services
from api.documented import WRITE, answers, query, takes
from api.faults import Fault, of_refusal, unavailable
from api.idempotency import operation_of
from api.models.ssl import ChangeSslBody, SslChange
from api.operations import operations_of
from api.orders import require
from api.requests import body_of, may
from api.routes.common import PREFIX, TRUE, AppServices, instance_named
from api.views import moment
from contract.domain.datastores import DATASTORES
from contract.domain.datastores.base import Datastore, Facet
from contract.domain.errors import BadRequest
from contract.domain.tls import SealedCertificate, Tls, TlsChange, TlsMode
from contract.keys.certificates import Certificate, check, describe, from_pkcs12, issue
from contract.keys.sealing import SecretBox
from records.views import InstanceView

router = APIRouter(prefix=f"{PREFIX}/instances", tags=["instances"])
View = dict[str, Any]
READ_SECONDS = 4.0
# One at a time: how often a passphrase is hashed is said by the file, and may take a processor for long.
_reading = asyncio.Semaphore(1)


@router.get("/{instance_id}/ssl", **answers(200, said.OneSsl), **query("include_certificate"))
async def show_ssl(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:ssl"))],
    instance_id: str,
) -> View:
    """Mode and certificate; with `include_certificate=true` the certificate itself, and the CA to check it with."""
    row = await instance_named(services, context, instance_id)
    whole = request.query_params.get("include_certificate", "").lower() in TRUE
    return {"ssl": _shown(_facts_of(row), (await services.reader.get_tls(row.id)).now, whole=whole)}


@router.post("/{instance_id}/ssl", **answers(200, said.OneChangedSsl, faults=WRITE), **takes(ChangeSslBody))
async def change_ssl(
    request: Request,
    services: AppServices,
    context: Annotated[RequestContext, Depends(may("instance:ssl"))],
    instance_id: str,
    body: Annotated[ChangeSslBody, Depends(body_of(ChangeSslBody))],
) -> View:
    """Enable it, with another mode or certificate, too; disable it; or go back to what was before the last change.

    The answer comes when it counts for sessions that begin; where it takes longer than some
    seconds, with what there is by then.
    With an Idempotency-Key, once however often it is sent.
    """
    row = await instance_named(services, context, instance_id)
    facts, token = _facts_of(row), request.headers.get("X-Auth-Token", "")
    before = await services.reader.get_tls(row.id)
    wanted = None if body.ssl.rollback else await _wanted(services, token, row, body.ssl)
    _require_possible(row, wanted, before)
    operation = await operation_of(services, context, request)
    if not operation.known:
        operations = operations_of(services, context)
        await operations.change_tls(row, wanted, operation.id)
        await _tell_barbican(services, token, row, TlsChange(now=wanted or before.before or Tls(), before=before.now))
    now = (await services.reader.get_tls(row.id)).now
    return {"ssl": {**_shown(facts, now, whole=False), "restart_required": False}}


def _facts_of(row: InstanceView) -> Datastore:
    facts = DATASTORES[row.manager].of(row.datastore_version_number)
    require(facts, Facet.TLS)
    return facts


async def _wanted(services: Services, token: str, row: InstanceView, change: SslChange) -> Tls:
    if not change.enable:
        return Tls()
    mode = change.wanted_mode
    if mode is TlsMode.BUILTIN:
        return Tls(mode=mode)
    found = await _certificate(services, token, row, change)
    sealed = SecretBox(services.keyring, row.id).seal(found.key)
    kept = SealedCertificate(chain=found.chain, ca=found.ca, key=sealed)
    return Tls(mode=mode, certificate=kept, container_ref=change.container_ref)


async def _certificate(services: Services, token: str, row: InstanceView, change: SslChange) -> Certificate:
    """As it was sent, or as Barbican has it, checked; or a new one for the addresses of the instance."""
    if change.container_ref is not None:
        named = {"container_ref": change.container_ref}
        if change.password_ref is not None:
            named["password_ref"] = change.password_ref
        secrets = await services.barbican.read(token, **named)
        passphrase = secrets["password_ref"].decode(errors="replace") if "password_ref" in secrets else None
        return await _read(lambda: from_pkcs12(secrets["container_ref"], passphrase))
    if change.pkcs12 is not None:
        bundle = _decoded(change.pkcs12)
        return await _read(lambda: from_pkcs12(bundle, change.passphrase))
    if change.certificate is not None and change.key is not None:
        sent = Certificate(change.certificate, change.key, change.ca or "")
        return await _read(lambda: sent)
    addresses = [each["address"] for each in row.addresses]
    return await _read(lambda: issue(str(row.id), addresses))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Fault(400, "ssl.pkcs12: must be in base64") from None


async def _read(make: Callable[[], Certificate]) -> Certificate:
    def checked() -> Certificate:
        found = make()
        check(found)
        return found

    try:
        async with asyncio.timeout(READ_SECONDS):
            await _reading.acquire()
            work = asyncio.ensure_future(asyncio.to_thread(checked))
            work.add_done_callback(_read_to_its_end)  # a thread goes on when nobody waits for it any more
            return await asyncio.shield(work)
    except TimeoutError:
        raise unavailable() from None
    except ValueError as error:
        raise Fault(400, f"The certificate cannot be used: {error}.") from None


def _read_to_its_end(work: "asyncio.Future[Certificate]") -> None:
    _reading.release()
    if not work.cancelled():
        work.exception()  # asyncio logs one that nobody looks at


def _require_possible(row: InstanceView, wanted: Tls | None, known: TlsChange) -> None:
    """Refuse what the runbook would."""
    if wanted is None:
        if known.before is None:
            raise Fault(400, f"Instance {row.id} has no earlier TLS configuration to go back to.")
        return
    try:
        wanted.check(_facts_of(row))
    except BadRequest as error:
        raise of_refusal(error) from None


async def _tell_barbican(services: Services, token: str, row: InstanceView, change: TlsChange) -> None:
    """The secret that is used now has this consumer, and the one before does not."""
    now, before = change.now.container_ref, change.before.container_ref if change.before else None
    if now is not None:
        await services.barbican.register(token, now, row.id)
    if before is not None and before != now:
        await services.barbican.remove(token, before, row.id)


def _shown(facts: Datastore, tls: Tls, *, whole: bool) -> View:
    mode, kept = tls.effective(facts), tls.certificate
    found = describe(kept.chain) if kept else None
    certificate: View | None = None
    if kept is not None and found is not None:
        certificate = {"cn": found.cn, "expire_at": moment(found.expire_at), "san": found.san or None}
        certificate |= {"payload": kept.chain, "ca": kept.ca} if whole else {}
    return {"status": "on" if mode else "off", "mode": mode.value if mode else None, "certificate": certificate}
