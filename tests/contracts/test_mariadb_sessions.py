"""Withdrawn rights end in open sessions, of exactly that account; and nobody's work stops because its maker is gone."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pymysql
import pytest

from contract.domain.accounts import NewDatabase, User, UserName
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import AMY, BOB, PASSWORD, Case
from tests.contracts.mariadb import MariaDBDialect
from tests.contracts.tables import Thing
from tests.contracts.verbs import VERBS

pytestmark = pytest.mark.parametrize("case", ["mariadb"], indirect=True)
AWAY: dict[str, Callable[[Any, UserName], object]] = {
    "delete": lambda accounts, user: accounts.delete_user(user),
    "rename": lambda accounts, user: accounts.rename_user(user, UserName(name="new", host=user.host)),
    "other host": lambda accounts, user: accounts.rename_user(user, UserName(name=user.name, host="127.1.1.1")),
    "revoke": lambda accounts, user: accounts.revoke(user, "app"),
}


def session(case: Case, user: str, client: str) -> Any:
    """A session from an address."""
    return pymysql.connect(
        host=case.address, user=user, password=PASSWORD, database="app", bind_address=client, autocommit=True,
        ssl_disabled=True,
    )  # fmt: skip


def works(case: Case, connection: Any) -> bool:
    """Whether it still reads and writes."""
    try:
        case.ask(connection, "INSERT INTO t VALUES (1)")
    except pymysql.err.MySQLError:
        return False
    return True


@pytest.mark.parametrize("verb", AWAY)
@pytest.mark.parametrize(
    ("mine", "other"),
    [("127.24.9.9", "127.24.9.8"), ("127.24.9.0/24", "127.24.8.0/24"), ("127.24.9.%", "%"), ("%", "127.24.9.9")],
)
def test_sessions_of_that_account_end_and_no_others(shared: Case, verb: str, mine: str, other: str) -> None:
    shared.run("amy", "CREATE TABLE t (n int)")
    for host in (mine, other):
        shared.accounts.create_user(PlainUser(UserName(name="twin", host=host), PASSWORD))
        shared.accounts.grant(UserName(name="twin", host=host), "app")
    from_mine = "127.24.7.7" if mine == "%" else "127.24.9.9"
    from_other = {"%": "127.24.7.7", "127.24.8.0/24": "127.24.8.8"}.get(other, other)
    with (
        closing(session(shared, "twin", from_mine)) as gone,
        closing(session(shared, "twin", from_other)) as stays,
        closing(shared.connect("bob")) as bob,
    ):
        assert works(shared, gone)
        if verb == "revoke" and other == "%":
            shared.accounts.revoke(
                UserName(name="twin", host="%"), "app"
            )  # MariaDB applies it to the narrower one, too
            AWAY[verb](shared.accounts, UserName(name="twin", host=mine))
            assert not works(shared, gone)
            return
        AWAY[verb](shared.accounts, UserName(name="twin", host=mine))
        assert not works(shared, gone)
        assert works(shared, stays)
        assert works(shared, bob)


def test_a_session_of_a_renamed_user_has_no_rights_of_the_new_one(shared: Case) -> None:
    shared.run("amy", "CREATE TABLE t (n int)")
    root = shared.accounts.enable_root(PASSWORD)
    with closing(session(shared, "bob", "127.0.0.1")) as old:
        shared.run(root, "RENAME USER bob@'%' TO rob@'%'")  # by SQL: the session is still called bob
        assert works(shared, old)
        shared.accounts.revoke(UserName(name="rob"), "app")
        assert not works(shared, old)


def test_a_narrower_account_takes_its_clients_over_at_once(shared: Case) -> None:
    shared.run("amy", "CREATE TABLE t (n int)")
    with closing(session(shared, "bob", "127.0.0.9")) as taken, closing(session(shared, "bob", "127.0.0.8")) as stays:
        shared.accounts.create_user(PlainUser(UserName(name="bob", host="127.0.0.9"), PASSWORD))
        assert not works(shared, taken)
        assert works(shared, stays)


def test_a_deletion_that_was_broken_off_lets_the_user_in_again(shared: Case) -> None:
    with closing(shared.administer()) as connection:
        shared.ask(connection, "ALTER USER bob@'%' ACCOUNT LOCK")
    with pytest.raises(shared.dialect.refused):
        shared.connect("bob")
    shared.accounts.restore_user(User(name="bob", databases=("app",)))
    shared.connect("bob").close()


@pytest.mark.parametrize("thing", MariaDBDialect.things, ids=lambda each: each.name)
def test_what_a_user_made_stays_in_use_when_it_is_renamed_and_deleted_and_made_anew(shared: Case, thing: Thing) -> None:
    eve, eva = UserName(name="eve"), UserName(name="eva")
    shared.accounts.create_user(PlainUser(eve, PASSWORD, ("app",)))
    shared.run("eve", *thing.make)
    before = definers(shared)
    verbs: list[Callable[[], object]] = [
        lambda: shared.accounts.rename_user(eve, eva),
        lambda: shared.accounts.create_user(PlainUser(eve, PASSWORD)),
        lambda: shared.accounts.delete_user(eva),
        lambda: shared.accounts.delete_user(eve),
        lambda: shared.accounts.create_user(PlainUser(eve, PASSWORD)),
    ]
    for verb in verbs:
        verb()
        shared.run("bob", *thing.use, "TRUNCATE t")
        assert shared.owned_by_administrator() == {}
        assert {what for what, _ in definers(shared)} == {what for what, _ in before}
    names = [each.name for each in shared.accounts.list_users()]
    assert names == ["amy", "bob", "eve"]
    with pytest.raises(shared.dialect.refused):
        shared.connect("eve")  # nothing of what the former eve had
    with closing(shared.administer()) as connection:
        for name, host in shared.ask(connection, "SELECT User, Host FROM mysql.global_priv WHERE User LIKE 'coffer%'"):
            with pytest.raises(shared.dialect.refused):
                shared.connect(name, "", "")
            assert host == "localhost"
    shared.accounts.delete_database("app")
    with closing(shared.administer()) as connection:
        assert shared.ask(connection, "SELECT User FROM mysql.global_priv WHERE User LIKE 'coffer%'") == []


def definers(case: Case) -> set[tuple[str, str]]:
    """What runs as whom in the database."""
    with closing(case.administer("app")) as connection:
        return {
            (str(name), str(definer))
            for name, definer in case.ask(
                connection,
                "SELECT TABLE_NAME, DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'app'"
                " UNION ALL SELECT ROUTINE_NAME, DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = 'app'"
                " UNION ALL SELECT TRIGGER_NAME, DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'app'"
                " UNION ALL SELECT EVENT_NAME, DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = 'app'",
            )
        }


def test_the_administrator_owns_nothing_after_any_verb(shared: Case) -> None:
    for number, thing in enumerate(MariaDBDialect.things):
        name = f"own{number}"
        shared.accounts.create_database(NewDatabase(name=name))
        for user in (AMY, BOB):
            shared.accounts.grant(user, name)
        shared.run("amy", *thing.make, database=name)
    for label, verb in VERBS.items():
        verb(shared.accounts)
        assert shared.owned_by_administrator() == {}, label


@pytest.mark.parametrize(
    "statement",
    ["CREATE DEFINER = os_admin@localhost VIEW v AS SELECT 1", "CREATE DEFINER = os_admin@localhost PROCEDURE p() SELECT 1",
     "CREATE DEFINER = os_admin@localhost EVENT e ON SCHEDULE EVERY 1 HOUR DO SELECT 1",
     "CREATE DEFINER = os_admin@localhost TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 1",
     "SET ROLE os_admin", "CREATE USER x", "GRANT ALL ON app.* TO bob@'%'"],
)  # fmt: skip
def test_a_user_cannot_make_anything_run_as_the_administrator(shared: Case, statement: str) -> None:
    shared.run("amy", "CREATE TABLE t (n int)")
    with pytest.raises(shared.dialect.refused):
        shared.run("amy", statement)
