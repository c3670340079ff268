"""Reading a request: strict JSON, then a model; every mistake is a 400 that names the field."""

import base64
import json
import re
import unicodedata
from collections.abc import Callable, Container, Iterable
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, ValidationError

from api.context import RequestContext, Services
from api.faults import Fault

MARKED = "~"  # what the markers that we give begin with; no name that the API takes does
Model = TypeVar("Model", bound=BaseModel)
CONTROLS = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories: control, surrogate, line and paragraph separator
# Unicode's classes of what turns the text around: it would be shown in another order than it is
TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def parse(body: bytes, lines: Container[str] = ()) -> Any:
    """Decode strict JSON; Fault 400 for anything else, and for a text that holds a control character.

    `lines`: names of members whose text may have several lines.
    """
    try:
        found = json.loads(body.decode(), parse_constant=_constant, parse_float=_number, object_pairs_hook=_members)
        unprintable = _unprintable(found, "", lines)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise Fault(400, "The request body is not valid JSON.") from None
    if unprintable is not None:
        raise Fault(400, f"Validation error: {unprintable or 'the body'}: must not contain control characters")
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # which of the two counts would be a guess
        raise ValueError("a member comes twice")
    return found


def _constant(word: str) -> NoReturn:
    raise ValueError(word)


def _number(word: str) -> float:
    number = float(word)
    if number in (float("inf"), float("-inf")):
        raise ValueError(word)
    return number


def _controls(character: str) -> bool:
    return unicodedata.category(character) in CONTROLS or unicodedata.bidirectional(character) in TURNS


def _unprintable(found: Any, place: str, lines: Container[str] = ()) -> str | None:
    """Where a text has a control character, half a surrogate, or what separates lines or turns text around; None: nowhere."""
    if isinstance(found, str):
        found = re.sub(r"[\r\n]", "", found) if place.rpartition(".")[2] in lines else found
        return place if any(_controls(each) for each in found) else None
    inside: Iterable[tuple[str, Any]] = ()
    if isinstance(found, dict):
        if any(_unprintable(name, "") is not None for name in found):
            return place
        inside = ((f"{place}.{name}" if place else name, each) for name, each in found.items())
    elif isinstance(found, list):
        inside = ((f"{place}[{number}]", each) for number, each in enumerate(found))
    return next((bad for name, each in inside if (bad := _unprintable(each, name, lines)) is not None), None)


def validated(model: type[Model], content: Any, place: str = "") -> Model:
    """Check content against a model; Fault 400 naming each field, below its place in the body."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise Fault(
            400, f"Validation error: {'; '.join(_sentence(each, place) for each in error.errors()[:5])}"
        ) from None


def _sentence(error: Any, place: str) -> str:
    for part in error["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    text = error["msg"].removeprefix("Value error, ")
    return f"{place or 'the body'}: {text}"


def body_of(model: type[Model]) -> Callable[[Request], Model]:
    """A dependency that reads the body as a model; its `lines` names members whose text may have several lines."""

    def read(request: Request) -> Model:
        body: bytes = request.state.body
        if not body:
            raise Fault(400, "The request needs a JSON body.")
        return validated(model, parse(body, getattr(model, "lines", ())))

    return read


def optional_body_of(model: type[Model]) -> Callable[[Request], Model | None]:
    """A dependency that reads the body as a model, or None where there is none."""

    def read(request: Request) -> Model | None:
        body: bytes = request.state.body
        if not body:
            return None
        content = parse(body)
        return validated(model, content) if content is not None else None

    return read


def services_of(request: Request) -> Services:
    """What the process works with."""
    services: Services = request.app.state.services
    return services


def may(rule: str) -> Callable[[Request], RequestContext]:
    """A dependency: the caller, if the policy's rule lets it in; 403 otherwise."""

    def check(request: Request) -> RequestContext:
        services, identity = services_of(request), request.state.identity
        if not services.policy.allows(rule, identity, identity.project_id):
            raise Fault(403, f"Policy doesn't allow {rule} to be performed.")
        return context_of(request)

    return check


def context_of(request: Request) -> RequestContext:
    """The caller, whatever it may."""
    services, identity = services_of(request), request.state.identity
    return RequestContext(identity, services.policy.is_admin(identity), request.state.request_id, request.state.base)


def administrator(request: Request) -> RequestContext:
    """A dependency: the caller, if it is an administrator; 401 otherwise, as Trove's management answers."""
    context = context_of(request)
    if not context.is_admin:
        raise Fault(401, "User does not have admin privileges.")
    return context


class Paging(BaseModel):
    """Where a page starts, and how long it is; and what else the query says, which the next page's link says again."""

    limit: int
    marker: str | None
    others: tuple[tuple[str, str], ...] = ()

    def following(self, marker: str | None) -> str | None:
        """The query of the next page, which starts after the marker; None where there is no such page."""
        if marker is None or self.limit == 0:
            return None
        return urlencode([*self.others, ("limit", self.limit), ("marker", marker)])


def paging(request: Request) -> Paging:
    """A dependency: limit and marker of the query, capped at the page size."""
    largest = services_of(request).settings.page_size
    said = request.query_params.get("limit")
    marker = name_of(request.query_params.get("marker", "")) or None
    others = tuple(each for each in request.query_params.multi_items() if each[0] not in ("limit", "marker"))
    if said is None or said == "":
        return Paging(limit=largest, marker=marker, others=others)
    if not (said.isascii() and said.isdigit()):
        raise Fault(400, f"limit '{said[:40]}' is not a number that is 0 or more.")
    limit = min(largest, int(said[:10]))  # ten digits are more than any page has
    return Paging(limit=limit, marker=marker, others=others)


def marker_of(name: str) -> str:
    """A name as the marker of a page: of characters alone that a client may paste into a URL as they are."""
    return MARKED + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def name_of(marker: str) -> str:
    """The name that a marker stands for. A client may write the name itself, too, if it does not look like a marker."""
    encoded = marker.removeprefix(MARKED)
    try:
        name = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError:
        return marker
    return name if marker_of(name) == marker else marker


def uuid_or_missing(wanted: str) -> UUID:
    """Return the id that a path names; 404 when it is none."""
    try:
        return UUID(wanted)
    except ValueError:
        raise Fault(404, f"Resource {wanted[:80]} cannot be found.") from None


def marker_uuid(page: Paging) -> UUID | None:
    """Return the marker of a list that is cut by id."""
    if page.marker is None:
        return None
    try:
        return UUID(page.marker)
    except ValueError:
        raise Fault(400, f"marker '{page.marker[:80]}' is not an id.") from None
