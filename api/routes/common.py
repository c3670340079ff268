"""What the routes share: finding the instance that a path names."""

import math
from collections.abc import AsyncIterator, Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from api.calls import ShortCalls, short_calls_of
from api.context import RequestContext, Services
from api.faults import Fault, missing
from api.idempotency import call_of
from api.keystone import Keystone
from api.orders import require
from api.requests import context_of, may, services_of
from api.swift.containers import Account, Containers
from contract.domain.accounts import UserName
from contract.domain.datastores.base import Facet
from contract.domain.fact import is_uuid
from records.views import InstanceView

PREFIX = "/v1.0/{project_id}"
TRUE = ("true", "1", "yes", "on")  # in a query
FACETS = {  # what an engine must have, by what a rule is about
    "database": Facet.DATABASES,
    "user": Facet.USERS,
    "user_access": Facet.USERS,
    "root": Facet.ROOT,
    "guest_log_list": Facet.LOGS,
}
AppServices = Annotated[Services, Depends(services_of)]


async def instance_named(services: Services, context: RequestContext, wanted: str) -> InstanceView:
    """The instance of an id, or of a name that is unique in the project; 404 otherwise."""
    wanted = segment(wanted)
    found = await services.reader.get_instance(wanted, context.scope)
    if found is None:
        raise missing(wanted[:255])
    return found


def short_calls(rule: str) -> Callable[..., object]:
    """A dependency: the guest of the instance in the path, for those whom the rule lets in; 422 where its engine has no
    notion of what the rule is about."""
    facet = FACETS[next((part for part in rule.split(":") if part in FACETS), rule)]

    async def find(
        request: Request,
        services: AppServices,
        context: Annotated[RequestContext, Depends(may(rule))],
        instance_id: str,
    ) -> AsyncIterator[ShortCalls]:
        instance = await instance_named(services, context, instance_id)
        async with call_of(services, context, request) as call:
            found = short_calls_of(services, context, instance, call)
            require(found.facts, facet)
            yield found

    return find


def segment(text: str) -> str:
    """A segment of the path as the client meant it: decoded, but for the two characters that `api.edge` leaves encoded."""
    return text.replace("%2F", "/").replace("%25", "%")


def user_named(calls: ShortCalls, text: str) -> UserName:
    """The user of a path's segment."""
    user = user_of_text(segment(text))
    return UserName(name=user.name, host=calls.facts.known_host(user.host))


def user_of_text(text: str) -> UserName:
    """`name@host`, split at the last `@`; without a host any."""
    name, at, host = text.rpartition("@")
    if not at:
        name, host = host, ""
    return UserName(name=name, host=host or "%")


async def swift_account(request: Request, services: Services, containers: Containers) -> Account:
    """The Swift of the caller's project."""
    keystone: Keystone = request.app.state.keystone
    token = request.headers.get("x-auth-token", "")
    return containers.account(await keystone.endpoint(token, "object-store", services.settings.region), token)


def id_of(text: str, name: str) -> UUID:
    """An id that a query names; 400 for what is none."""
    if not is_uuid(text):
        raise Fault(400, f"{name} '{text[:80]}' is not an id.")
    return UUID(text)


async def counted(request: Request) -> None:
    """A dependency of every route below a project: 413 for one request too many; administrators are not counted."""
    identity = getattr(request.state, "identity", None)
    if identity is None or context_of(request).is_admin:
        return
    limits, verb = services_of(request).rates, request.method
    wait = limits.take(identity.project_id, verb)
    if wait > 0:
        seconds = str(math.ceil(wait))
        details = f"Only {limits.per_minute[verb]} {verb} request(s) can be made to * every minute."
        more = {"details": details, "retryAfter": seconds}
        raise Fault(413, "This request was rate-limited.", {"Retry-After": seconds}, more)
