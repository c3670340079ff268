"""What the routes share: finding the instance that a path names."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import Depends, Request

from api.calls import Guests, guests_of
from api.context import Asker, Means
from api.faults import missing
from api.idempotency import call_of
from api.requests import may, means_of
from records.views import InstanceView
from workflows.domain.accounts import UserName

PREFIX = "/v1.0/{project_id}"
MeansHere = Annotated[Means, Depends(means_of)]


async def instance_named(means: Means, asker: Asker, wanted: str) -> InstanceView:
    """The instance of an id, or of a name that is unique in the project; 404 otherwise."""
    wanted = segment(wanted)
    found = await means.reader.get_instance(wanted, asker.scope)
    if found is None:
        raise missing(wanted[:255])
    return found


def guests(rule: str) -> Callable[..., object]:
    """A dependency: the guest of the instance in the path, for those whom the rule lets in."""

    async def find(
        request: Request, means: MeansHere, asker: Annotated[Asker, Depends(may(rule))], instance_id: str
    ) -> AsyncIterator[Guests]:
        instance = await instance_named(means, asker, instance_id)
        async with call_of(means, asker, request) as call:
            found = guests_of(means, asker, instance, call)
            _ = found.facts  # refuses engines that have no accounts
            yield found

    return find


def segment(text: str) -> str:
    """A segment of the path as the client meant it: decoded, but for the two characters that `api.edge` leaves encoded."""
    return text.replace("%2F", "/").replace("%25", "%")


def user_named(guest: Guests, text: str) -> UserName:
    """The user of a path's segment."""
    user = user_of_text(segment(text))
    return UserName(name=user.name, host=guest.facts.known_host(user.host))


def user_of_text(text: str) -> UserName:
    """`name@host`, split at the last `@`; without a host any."""
    name, at, host = text.rpartition("@")
    if not at:
        name, host = host, ""
    return UserName(name=name, host=host or "%")
