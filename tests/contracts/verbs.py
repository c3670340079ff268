"""Every verb of accounts, on the database `app` with its users `amy` and `bob`: what is asked after each is one table."""

from collections.abc import Callable
from typing import Any

from contract.domain.accounts import NewDatabase, UserName
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import AMY, BOB, PASSWORD

EVE, EVA = UserName(name="eve"), UserName(name="eva")

VERBS: dict[str, Callable[[Any], Any]] = {
    "create_database": lambda accounts: accounts.create_database(NewDatabase(name="app2")),
    "create_user": lambda accounts: accounts.create_user(PlainUser(EVE, PASSWORD, ("app",))),
    "grant": lambda accounts: accounts.grant(BOB, "app2"),
    "grant again": lambda accounts: accounts.grant(BOB, "app"),
    "set_password": lambda accounts: accounts.set_password(BOB, PASSWORD),
    "list_users": lambda accounts: accounts.list_users(),
    "list_databases": lambda accounts: accounts.list_databases(),
    "rename_user": lambda accounts: accounts.rename_user(EVE, EVA),
    "revoke": lambda accounts: accounts.revoke(BOB, "app"),
    "delete other user": lambda accounts: accounts.delete_user(EVA),
    "enable_root": lambda accounts: accounts.enable_root(PASSWORD),
    "disable_root": lambda accounts: accounts.disable_root(),
    "delete other database": lambda accounts: accounts.delete_database("app2"),
    "delete_user": lambda accounts: accounts.delete_user(AMY),
    "create_user again": lambda accounts: accounts.create_user(PlainUser(AMY, PASSWORD, ("app",))),
}
