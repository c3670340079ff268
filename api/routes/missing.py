"""Trove's other routes: after authentication, policy and 404 they say which operation is not implemented yet."""

from fastapi import APIRouter, Request, Response

from api.documented import WRITE, answers
from api.faults import Fault, missing
from api.requests import administrator, may, services_of
from api.routes.common import PREFIX, instance_named

router = APIRouter(prefix=PREFIX, tags=["not implemented yet"])
ADMIN = "mgmt"  # instead of a policy's rule

# method, path, rule. Collections that are always empty answer 404 for their items instead.
ROUTES = (
    ("POST", "/modules", "module:create"),
    ("POST", "/clusters", "cluster:create"),
    ("GET", "/mgmt/clusters", ADMIN),
    ("GET", "/mgmt/clusters/{cluster}", ADMIN),
    ("POST", "/mgmt/clusters/{cluster}/action", ADMIN),
)
# items of collections that are empty: whoever asks for one asks for what is not there
ITEMS = (
    ("GET", "/modules/{module}", "module:show"),
    ("PUT", "/modules/{module}", "module:update"),
    ("DELETE", "/modules/{module}", "module:delete"),
    ("GET", "/modules/{module}/instances", "module:instances"),
    ("PUT", "/modules/{module}/instances", "module:reapply"),
    ("GET", "/clusters/{cluster}", "cluster:show"),
    ("POST", "/clusters/{cluster}", "cluster:action"),
    ("DELETE", "/clusters/{cluster}", "cluster:delete"),
    ("GET", "/clusters/{cluster}/instances/{instance}", "cluster:show_instance"),
    ("GET", "/clusters/{cluster}/root", "cluster:extension:root:index"),
    ("POST", "/clusters/{cluster}/root", "cluster:extension:root:create"),
    ("DELETE", "/clusters/{cluster}/root", "cluster:extension:root:delete"),
)


async def _not_implemented(request: Request, operation: str, rule: str) -> Response:
    context = administrator(request) if rule == ADMIN else may(rule)(request)
    wanted = request.path_params.get("instance_id")
    if wanted is not None:
        await instance_named(services_of(request), context, wanted)
    raise Fault(501, f"{operation} is not implemented yet.")


def _add(method: str, path: str, rule: str) -> None:
    async def answer(request: Request) -> Response:
        return await _not_implemented(request, f"{method} {path}", rule)

    answer.__doc__ = "Not implemented yet."
    router.add_api_route(path, answer, methods=[method], name=f"{method} {path}", operation_id=f"{method} {path}",
                         **answers(501, faults=(*WRITE, 501)))  # fmt: skip


def _add_item(method: str, path: str, rule: str) -> None:
    async def answer(request: Request) -> Response:
        may(rule)(request)
        raise missing(next(iter(value for name, value in request.path_params.items() if name != "project_id"))[:255])

    answer.__doc__ = "There are none yet."
    router.add_api_route(path, answer, methods=[method], name=f"{method} {path}", operation_id=f"{method} {path}",
                         **answers(404, faults=WRITE))  # fmt: skip


for _method, _path, _rule in ROUTES:
    _add(_method, _path, _rule)
for _method, _path, _rule in ITEMS:
    _add_item(_method, _path, _rule)
