"""Databases, users, grants and root of an instance: the guest's answer is the API's answer."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api import views
from api.answers import accounts as said
from api.calls import ShortCalls
from api.context import RequestContext
from api.documented import WRITE, answers, empty, query, takes
from api.faults import Fault
from api.models.accounts import (
    ChangePasswordsBody,
    ChangeUserBody,
    CreateDatabasesBody,
    CreateUsersBody,
    GrantBody,
    RootBody,
)
from api.orders import checked, database_of, unique, user_of
from api.requests import Paging, body_of, marker_of, may, optional_body_of, paging
from api.routes.common import PREFIX, AppServices, instance_named, segment, short_calls, user_named, user_of_text
from contract.domain.accounts import Grant, User, UserChange, UserName
from contract.ports.guest import (
    Accounts,
    DatabaseName,
    DatabasesAfter,
    NewDatabases,
    NewUsers,
    PasswordChanges,
    UsersAfter,
    UserToDelete,
)

router = APIRouter(prefix=f"{PREFIX}/instances/{{instance_id}}")
Page = Annotated[Paging, Depends(paging)]
EXTENSION = "instance:extension"


def _view(user: User) -> views.View:
    return {"name": user.name, "host": user.host, "databases": [{"name": each} for each in user.databases]}


# -- databases -------------------------------------------------------------------------------------------------------


@router.get("/databases", tags=["databases"], **answers(200, said.DatabasesPage, WRITE), **query("limit", "marker"))
async def list_databases(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:database:index"))], page: Page
) -> views.View:
    """The instance's databases, by name."""
    asked = DatabasesAfter(limit=page.limit, after=page.marker or "")
    found = await calls.ask(Accounts.list_databases, asked)
    names, more = views.cut(found.databases, str, page.limit, page.marker)
    path, items = f"instances/{calls.instance.id}/databases", [{"name": each} for each in names]
    marker = marker_of(names[-1]) if (more or found.more) and names else None
    return views.paged(calls.context, path, "databases", items, page.following(marker))


@router.post("/databases", tags=["databases"], **answers(202, faults=WRITE), **takes(CreateDatabasesBody))
async def create_databases(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:database:create"))],
    body: Annotated[CreateDatabasesBody, Depends(body_of(CreateDatabasesBody))],
) -> Response:
    """Create databases; all of them, or none where one exists."""
    wanted = tuple(database_of(calls.facts, f"databases[{n}]", each) for n, each in enumerate(body.databases))
    unique("databases", [each.name for each in wanted])
    await calls.ask(Accounts.create_databases, NewDatabases(databases=wanted))
    return empty(202)


@router.get("/databases/{name}", tags=["databases"], **answers(200, said.OneDatabase, faults=WRITE))
async def show_database(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:database:show"))], name: str
) -> views.View:
    """Whether a database is there (beyond Trove, which answers 501)."""
    name = segment(name)
    async for names in calls.databases(DatabasesAfter()):
        if name in names:
            return {"database": {"name": name}}
        if names and names[-1] >= name:  # they come in order: it is on no later page
            break
    raise Fault(404, f"Database {name} cannot be found on the instance.")


@router.delete("/databases/{name}", tags=["databases"], **answers(202, faults=WRITE))
async def delete_database(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:database:delete"))], name: str
) -> Response:
    """Drop a database with all that is in it."""
    name = segment(name)
    if name in calls.facts.reserved_databases:
        raise Fault(400, f"Database {name} is reserved.")
    await calls.ask(Accounts.delete_database, DatabaseName(name=name))
    return empty(202)


# -- users -----------------------------------------------------------------------------------------------------------


@router.get("/users", tags=["users"], **answers(200, said.UsersPage, WRITE), **query("limit", "marker"))
async def list_users(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:user:index"))], page: Page
) -> views.View:
    """The instance's users, by name and host."""
    after = user_of_text(page.marker) if page.marker else None
    found = await calls.ask(Accounts.list_users, UsersAfter(limit=page.limit, after=after))
    users, more = views.cut(found.users, _key, page.limit, _key(after) if after else None)
    if len(users) == 1:  # an answer of the guest may not have held its databases
        users = [await _whole(calls, users[0])]
    path, items = f"instances/{calls.instance.id}/users", [_view(each) for each in users]
    marker = marker_of("@".join(_key(users[-1]))) if (more or found.more) and users else None
    return views.paged(calls.context, path, "users", items, page.following(marker))


async def _whole(calls: ShortCalls, user: User) -> User:
    """A user with all databases that it may use."""
    if not user.more_databases:
        return user
    page = DatabasesAfter(user=UserName(name=user.name, host=user.host), after=max(user.databases, default=""))
    rest = [name async for names in calls.databases(page) for name in names]
    return user.model_copy(update={"databases": (*user.databases, *rest)})


def _key(user: User | UserName) -> tuple[str, str]:
    return user.name, user.host


@router.post("/users", tags=["users"], **answers(202, faults=WRITE), **takes(CreateUsersBody))
async def create_users(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:user:create"))],
    body: Annotated[CreateUsersBody, Depends(body_of(CreateUsersBody))],
) -> Response:
    """Create users with their grants; all of them, or none where one exists."""
    wanted = tuple(user_of(calls.facts, f"users[{n}]", each, calls.sealed) for n, each in enumerate(body.users))
    unique("users", [f"{each.name}@{each.host}" for each in wanted])
    await calls.ask(Accounts.create_users, NewUsers(users=wanted))
    return empty(202)


@router.post("/users/{name}", tags=["users"], include_in_schema=False, status_code=202, response_model=None)
async def create_user(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:user:create"))],
    name: str,
    body: Annotated[CreateUsersBody, Depends(body_of(CreateUsersBody))],
) -> Response:
    """Create the user that the path names: openstacksdk posts to it."""
    if [each.name for each in body.users] != [segment(name)]:
        raise Fault(400, f"users: must be the one user '{segment(name)[:80]}' that the path names")
    return await create_users(calls, body)


@router.put("/users", tags=["users"], **answers(202, faults=WRITE), **takes(ChangePasswordsBody))
async def change_passwords(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:user:update_all"))],
    body: Annotated[ChangePasswordsBody, Depends(body_of(ChangePasswordsBody))],
) -> Response:
    """Give users new passwords."""
    changes = []
    for number, each in enumerate(body.users):
        checked(f"users[{number}]", calls.facts.check_password, each.password)
        user = UserName(name=each.name, host=calls.facts.known_host(each.host or "%"))
        _refuse_reserved(calls, user)
        changes.append(UserChange(user=user, new_password=calls.sealed(each.password)))
    await calls.ask(Accounts.change_passwords, PasswordChanges(changes=tuple(changes)))
    return empty(202)


@router.get("/users/{name}", tags=["users"], **answers(200, said.OneUser, faults=WRITE))
async def show_user(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:user:show"))], name: str
) -> views.View:
    """One user, `name` or `name@host`."""
    return {"user": _view(await _whole(calls, await calls.ask(Accounts.get_user, user_named(calls, name))))}


@router.put("/users/{name}", tags=["users"], **answers(202, faults=WRITE), **takes(ChangeUserBody))
async def update_user(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:user:update"))],
    name: str,
    body: Annotated[ChangeUserBody, Depends(body_of(ChangeUserBody))],
) -> Response:
    """Rename a user, or change its host or password."""
    user, wanted = user_named(calls, name), body.user
    _refuse_reserved(calls, user)
    if wanted.name or wanted.host:
        checked("user", calls.facts.check_user, wanted.name or user.name, wanted.host or user.host)
    if wanted.password:
        checked("user", calls.facts.check_password, wanted.password)
    secret = calls.sealed(wanted.password) if wanted.password else None
    new_host = calls.facts.known_host(wanted.host) if wanted.host else None
    change = UserChange(user=user, new_name=wanted.name, new_host=new_host, new_password=secret)
    await calls.ask(Accounts.update_user, change)
    return empty(202)


@router.delete("/users/{name}", tags=["users"], **answers(202, faults=WRITE))
async def delete_user(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:user:delete"))], name: str
) -> Response:
    """Delete a user; what it made stays."""
    user = user_named(calls, name)
    _refuse_reserved(calls, user)
    await calls.ask(Accounts.delete_user, UserToDelete(user=user))
    return empty(202)


def _refuse_reserved(calls: ShortCalls, user: UserName) -> None:
    if user.name in calls.facts.reserved_users:
        raise Fault(400, f"User {user.name} is reserved.")


# -- grants ----------------------------------------------------------------------------------------------------------


@router.get("/users/{name}/databases", tags=["users"], **answers(200, said.Grants, WRITE))
async def list_grants(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:user_access:index"))], name: str
) -> views.View:
    """The databases that a user may use."""
    user = await _whole(calls, await calls.ask(Accounts.get_user, user_named(calls, name)))
    return {"databases": [{"name": each} for each in user.databases]}


@router.put("/users/{name}/databases", tags=["users"], **answers(202, faults=WRITE), **takes(GrantBody))
async def grant_access(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:user_access:update"))],
    name: str,
    body: Annotated[GrantBody, Depends(body_of(GrantBody))],
) -> Response:
    """Let a user use databases."""
    grant = Grant(user=user_named(calls, name), databases=tuple(each.name for each in body.databases))
    await calls.ask(Accounts.grant_access, grant)
    return empty(202)


@router.delete("/users/{name}/databases/{database}", tags=["users"], **answers(202, faults=WRITE))
async def revoke_access(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:user_access:delete"))], name: str, database: str
) -> Response:
    """Take a user's right to a database back, in open sessions too."""
    await calls.ask(Accounts.revoke_access, Grant(user=user_named(calls, name), databases=(segment(database),)))
    return empty(202)


# -- root ------------------------------------------------------------------------------------------------------------


@router.get("/root", tags=["root"], **answers(200, said.RootEnabled))
async def show_root(
    services: AppServices, context: Annotated[RequestContext, Depends(may(f"{EXTENSION}:root:index"))], instance_id: str
) -> views.View:
    """Whether the tenant has the administrator account, from the records."""
    row = await instance_named(services, context, instance_id)
    return {"rootEnabled": (await services.reader.get_root(row.id)).enabled}


@router.post("/root", tags=["root"], **answers(200, said.OneRootUser, faults=WRITE), **takes(RootBody, required=False))
async def enable_root(
    calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:root:create"))],
    body: Annotated[RootBody | None, Depends(optional_body_of(RootBody))],
) -> views.View:
    """Hand over the administrator account, with a new password each time."""
    password = body.password if body else None
    if password is not None:
        checked("password", calls.facts.check_password, password)
    name, secret = await calls.enable_root(password)
    return {"user": {"name": name, "password": secret}}


@router.delete("/root", tags=["root"], **answers(204, faults=WRITE))
async def disable_root(
    services: AppServices, calls: Annotated[ShortCalls, Depends(short_calls(f"{EXTENSION}:root:delete"))]
) -> Response:
    """Take the administrator account back: its password is one that nobody knows."""
    if not calls.call.known and not (await services.reader.get_root(calls.instance.id)).enabled:
        raise Fault(404, "Root user has never been enabled on the instance.")
    await calls.disable_root()
    return empty(204)
