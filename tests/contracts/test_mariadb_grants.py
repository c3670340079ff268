"""Rights that the API did not give: shown as they count, taken back in whatever form they stand, never other people's."""

from contextlib import closing
from typing import Any

import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.errors import Busy, NotFound
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import AMY, PASSWORD, Case

pytestmark = pytest.mark.parametrize("case", ["mariadb"], indirect=True)
CI = UserName(name="ci")
ON_PAY_ROLL = {
    "plain underscore": ("GRANT SELECT ON pay_roll.* TO ci@'%'",),
    "escaped underscore": (r"GRANT SELECT ON `pay\_roll`.* TO ci@'%'",),
    "both": (r"GRANT SELECT ON `pay\_roll`.* TO ci@'%'", "GRANT INSERT ON pay_roll.* TO ci@'%'"),
    "prefix": ("GRANT SELECT ON `pay%`.* TO ci@'%' WITH GRANT OPTION",),
    "suffix": ("GRANT ALL ON `%roll`.* TO ci@'%'",),
    "one sign": ("GRANT SELECT ON `pay_rol_`.* TO ci@'%'",),
    "table": ("GRANT SELECT, DELETE ON pay_roll.t TO ci@'%' WITH GRANT OPTION",),
    "column": ("GRANT SELECT (n), INSERT (n) ON pay_roll.t TO ci@'%'",),
    "function": ("GRANT EXECUTE ON FUNCTION pay_roll.f TO ci@'%'",),
    "procedure": ("GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE pay_roll.p TO ci@'%' WITH GRANT OPTION",),
    "grant option alone": ("GRANT USAGE ON pay_roll.* TO ci@'%' WITH GRANT OPTION",),
    "all of it": ("GRANT ALL ON pay_roll.* TO ci@'%' WITH GRANT OPTION", "GRANT SELECT (n) ON pay_roll.t TO ci@'%'",
                  "GRANT EXECUTE ON PROCEDURE pay_roll.p TO ci@'%'"),
}  # fmt: skip
FROM_ELSEWHERE = {
    "role": ("CREATE ROLE IF NOT EXISTS readers", "GRANT SELECT ON pay_roll.* TO readers", "GRANT readers TO ci@'%'"),
    "role of a role": (
        "CREATE ROLE IF NOT EXISTS readers",
        "CREATE ROLE IF NOT EXISTS inner_",
        "GRANT SELECT ON pay_roll.* TO inner_",
        "GRANT inner_ TO readers",
        "GRANT readers TO ci@'%'",
    ),
    "public": ("GRANT SELECT ON pay_roll.* TO PUBLIC",),
    "global": ("GRANT SELECT ON *.* TO ci@'%'",),
}  # fmt: skip


@pytest.fixture
def root(app: Case) -> Any:
    """A session of the tenant's root, with databases whose names are alike."""
    for name in ("pay_roll", "payXroll", "pay_rolls"):
        app.accounts.create_database(NewDatabase(name=name))
    app.accounts.create_user(PlainUser(CI, PASSWORD))
    app.accounts.enable_root(PASSWORD)
    with closing(app.connect("root", PASSWORD, "app")) as session:
        app.ask(session, "CREATE TABLE pay_roll.t (n int)")
        app.ask(session, "CREATE FUNCTION pay_roll.f() RETURNS int RETURN 1")
        app.ask(session, "CREATE PROCEDURE pay_roll.p() SELECT 1")
        yield session
        for statement in ("DROP ROLE IF EXISTS readers, inner_", "REVOKE ALL ON *.* FROM ci@'%'"):
            try:
                app.ask(session, statement)
            except pymysql.err.MySQLError:
                continue
        try:
            app.ask(session, "REVOKE ALL ON pay_roll.* FROM PUBLIC")
        except pymysql.err.MySQLError:
            return


def shown(case: Case, user: UserName = CI) -> tuple[str, ...]:
    """The databases that a user may use, as listed."""
    users = {UserName(name=each.name, host=each.host): each.databases for each in case.accounts.list_users()}
    return tuple(users[user])


def reached(case: Case) -> set[str]:
    """The databases that the engine itself lets the user `ci` into."""
    found = set()
    for name in case.accounts.list_databases():
        try:
            case.connect("ci", PASSWORD, name).close()
        except pymysql.err.MySQLError:
            continue
        found.add(name)
    return found


@pytest.mark.parametrize("form", ON_PAY_ROLL)
def test_every_form_is_shown_and_revoked_and_other_databases_stay(app: Case, root: Any, form: str) -> None:
    for statement in ON_PAY_ROLL[form]:
        app.ask(root, statement)
    before = reached(app)
    if form != "grant option alone":
        assert "pay_roll" in before
        assert set(shown(app)) == before
    app.accounts.revoke(CI, "pay_roll")
    assert reached(app) == before - {"pay_roll"} == set(shown(app))
    with pytest.raises(NotFound):
        app.accounts.revoke(CI, "pay_roll")


@pytest.mark.parametrize("form", ON_PAY_ROLL)
def test_a_database_made_anew_is_open_to_nobody_of_before(app: Case, root: Any, form: str) -> None:
    app.accounts.grant(AMY, "pay_roll")
    for statement in ON_PAY_ROLL[form]:
        app.ask(root, statement)
    before = reached(app)
    app.accounts.delete_database("pay_roll")
    app.accounts.create_database(NewDatabase(name="pay_roll"))
    assert reached(app) == before - {"pay_roll"} == set(shown(app))
    assert shown(app, AMY) == ("app",)
    assert app.ask(root, "SELECT User FROM mysql.tables_priv WHERE Db = 'pay_roll'") == []
    assert app.ask(root, "SELECT User FROM mysql.columns_priv WHERE Db = 'pay_roll'") == []
    assert app.ask(root, "SELECT User FROM mysql.procs_priv WHERE Db = 'pay_roll'") == []


@pytest.mark.parametrize("form", FROM_ELSEWHERE)
def test_what_comes_from_elsewhere_is_shown_and_said(app: Case, root: Any, form: str) -> None:
    app.accounts.grant(CI, "pay_roll")
    for statement in FROM_ELSEWHERE[form]:
        app.ask(root, statement)
    assert "pay_roll" in shown(app)
    with pytest.raises(Busy, match=r"role|PUBLIC|\*\.\*"):
        app.accounts.revoke(CI, "pay_roll")
    assert "pay_roll" in reached(app)


def test_rights_of_the_same_name_at_a_wider_host_are_said(app: Case, root: Any) -> None:
    narrow = UserName(name="ci", host="127.0.0.1")
    app.accounts.create_user(PlainUser(narrow, PASSWORD, ("pay_roll",)))
    app.accounts.grant(CI, "pay_roll")
    with pytest.raises(Busy, match="ci@%"):
        app.accounts.revoke(narrow, "pay_roll")
    app.accounts.revoke(CI, "pay_roll")
    app.accounts.revoke(narrow, "pay_roll")
    assert reached(app) == set()


def test_a_database_that_root_dropped_opens_to_nobody_when_it_is_made_anew(app: Case, root: Any) -> None:
    app.accounts.grant(CI, "pay_roll")
    app.ask(root, "DROP DATABASE pay_roll")
    assert shown(app) == ()
    app.accounts.create_database(NewDatabase(name="pay_roll"))
    assert reached(app) == set() == set(shown(app))


names = st.text(st.sampled_from("ab_%s-"), min_size=1, max_size=4).filter(lambda name: name == name.strip())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.sets(names, min_size=2, max_size=4), data=st.data())
def test_names_full_of_wildcards_are_told_apart(app: Case, wanted: set[str], data: st.DataObject) -> None:
    mine = data.draw(st.sets(st.sampled_from(sorted(wanted))))
    for name in wanted:
        app.accounts.create_database(NewDatabase(name=name))
    app.accounts.create_user(PlainUser(CI, PASSWORD, tuple(mine)))
    try:
        assert reached(app) == mine == set(shown(app))
        for name in sorted(mine):
            app.accounts.revoke(CI, name)
            mine = mine - {name}
            assert reached(app) == mine == set(shown(app))
    finally:
        app.accounts.delete_user(CI)
        for name in wanted:
            app.accounts.delete_database(name)


@pytest.mark.parametrize(
    "name", ["sale_50%s", "%s", "100%", "%(x)s", "{0}", "%%", "a b", "用户", "-x", "sélect", "#1", "a.b", "$a"]
)
def test_names_are_never_taken_for_a_format(app: Case, name: str) -> None:
    app.accounts.create_database(NewDatabase(name=name, character_set="utf8mb4", collate="utf8mb4_bin"))
    app.accounts.create_user(PlainUser(UserName(name=f"u{name}"), "%s'\"\\`%", (name,)))
    app.connect(f"u{name}", "%s'\"\\`%", name).close()
    app.accounts.rename_user(UserName(name=f"u{name}"), UserName(name="ci"))
    app.accounts.revoke(CI, name)
    app.accounts.delete_user(CI)
    app.accounts.delete_database(name)
