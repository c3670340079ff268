"""Names, character sets and collations: what the control plane takes, the engine takes as it was said, and all that it has."""

from contextlib import closing
from typing import Any

import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.datastores.mariadb import MARIADB, collations_of, series
from contract.domain.errors import BadRequest
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import PASSWORD, Case

pytestmark = pytest.mark.parametrize("case", ["mariadb"], indirect=True)
quiet = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
signs = st.sampled_from("abZ09_-!*&%#@$+=~^?. |<>(){}[]:é用户Ωß'\"`\\;,/\n\0\u200b😀")
NAMES = st.one_of(
    st.text(signs, min_size=1, max_size=8), st.builds(lambda sign, n: sign * n, signs, st.integers(40, 140))
)


def takes(check: Any, *values: Any) -> bool:
    """Whether the control plane's check lets something in."""
    try:
        check(*values)
    except ValueError:
        return False
    return True


@quiet
@given(name=NAMES)
def test_a_database_name_that_is_taken_is_kept_as_it_is(case: Case, name: str) -> None:
    if not takes(MARIADB.check_database, NewDatabase(name=name)):
        with pytest.raises(BadRequest):
            case.accounts.create_database(NewDatabase(name=name))
        return
    case.accounts.create_database(NewDatabase(name=name))
    assert case.accounts.list_databases() == (name,)
    case.accounts.delete_database(name)
    assert case.accounts.list_databases() == ()


@quiet
@given(name=NAMES)
def test_a_user_name_that_is_taken_is_kept_as_it_is(case: Case, name: str) -> None:
    user = UserName(name=name)
    if not takes(MARIADB.check_user, name, "%"):
        with pytest.raises(BadRequest):
            case.accounts.create_user(PlainUser(user, PASSWORD))
        return
    case.accounts.create_user(PlainUser(user, PASSWORD))
    assert [each.name for each in case.accounts.list_users()] == [name]
    pymysql.connect(host=case.address, user=name, password=PASSWORD, charset="utf8mb4", ssl_disabled=True).close()
    case.accounts.delete_user(user)


@pytest.mark.parametrize("name", ["u!1", "u*1", "u&1", "用户", "u@1", "u|1", "-u", "u u", "(u)", "a" * 128])
def test_user_names_that_trove_takes(case: Case, name: str) -> None:
    assert takes(MARIADB.check_user, name, "%")


@pytest.mark.parametrize("name", ["-x", "a b", "a?b", "a#b", "a@b", "50%", "a" * 64, "_", "1"])
def test_database_names_that_trove_takes(case: Case, name: str) -> None:
    assert takes(MARIADB.check_database, NewDatabase(name=name))


@pytest.mark.parametrize(
    "name",
    [
        "mysql",
        "MYSQL",
        "Information_Schema",
        "SYS",
        "performance_schema",
        "#mysql50#x",
        "..",
        ".",
        "x\n",
        "a/b",
        " a",
        "a ",
    ],
)
def test_database_names_that_are_refused(case: Case, name: str) -> None:
    assert not takes(MARIADB.check_database, NewDatabase(name=name))


@pytest.mark.parametrize(
    "name",
    [
        "root",
        "ROOT",
        "os_admin",
        "Public",
        "mariadb.sys",
        "mysql",
        "coffer_definer_x",
        "😀",
        "",
        "a\u202eb",
        "a'b",
        "a" * 129,
    ],
)
def test_user_names_that_are_refused(case: Case, name: str) -> None:
    assert not takes(MARIADB.check_user, name, "%")


def of_engine(case: Case) -> set[tuple[str, str]]:
    """All pairs of character set and collation, under each name, that the engine has."""
    with closing(case.administer()) as connection:
        rows = case.ask(connection, "SELECT CHARACTER_SET_NAME, COLLATION_NAME, FULL_COLLATION_NAME"
                                    " FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY")  # fmt: skip
    return {(charset, name) for charset, *names in rows for name in names}


def test_the_data_are_the_engine_s(case: Case) -> None:
    installed = ".".join(case.engine.version().split(".")[:2])
    assert installed in series(), f"run python -m guest_worker.datastores.mariadb.facts for {installed}"
    known = {(charset, name) for charset, names in collations_of(installed).items() for name in names}
    assert known == of_engine(case)
    assert {takes(MARIADB.check_database, NewDatabase(name="d", character_set=a, collate=b)) for a, b in known} == {
        True
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_pairs_that_are_taken_are_what_the_engine_has(case: Case, data: st.DataObject) -> None:
    pairs = sorted(of_engine(case))
    charset = data.draw(st.sampled_from([None, "utf8", "UTF8MB4", "klingon", *sorted({each for each, _ in pairs})]))
    collate = data.draw(
        st.sampled_from([None, "binary", "utf8_bin", "LATIN1_BIN", "x_ci", *sorted({each for _, each in pairs})])
    )
    order = NewDatabase(name="d", character_set=charset, collate=collate)
    with closing(case.administer()) as connection:
        words = f"{f' CHARACTER SET {charset}' if charset else ''}{f' COLLATE {collate}' if collate else ''}"
        try:
            case.ask(connection, f"CREATE DATABASE d{words}")
            case.ask(connection, "DROP DATABASE d")
            good = True
        except pymysql.err.MySQLError:
            good = False
    short = collate is not None and charset is None and collate.lower().startswith("uca1400_")
    assert takes(MARIADB.check_database, order) == good or short, order
    if not good:
        with pytest.raises(BadRequest):
            case.accounts.check_database(order)
            case.accounts.create_database(order)
    assert case.accounts.list_databases() == ()
