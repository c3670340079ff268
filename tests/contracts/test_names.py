"""What was created under a name is listed, granted, revoked, renamed and deleted under exactly that name; and long lists."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.domain.accounts import NewDatabase, User, UserName
from contract.domain.datastores import DATASTORES
from contract.ports.guest import DatabasesAfter, UsersAfter
from contract.wire.answers import MAX_BYTES
from guest_worker.datastores.base import PlainUser
from guest_worker.verbs.accounts import LONGEST_ANSWER, EngineAccounts
from tests.contracts.conftest import PASSWORD, Case
from tests.contracts.guest import done

quiet = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
signs = st.sampled_from("abZ09_-!*&%#@$+=~^?.|<>(){}[]:é用户Ωß")
NAMES = st.one_of(
    st.text(signs, min_size=1, max_size=9),
    st.builds(
        lambda sign, start, size: (start + sign * 64)[:size], st.sampled_from("a_%é"), signs, st.integers(20, 64)
    ),
)
HOSTS = ("%", "10.0.0.1", "192.0.2.%", "10.1.0.0/255.255.0.0", "2001:db8::1")


def is_taken(check: Any, *values: Any) -> bool:
    """Whether the control plane lets it in."""
    try:
        check(*values)
    except ValueError:
        return False
    return True


def differ(names: tuple[str, str]) -> bool:
    """Whether two names are of two things in every engine."""
    return names[0].casefold() != names[1].casefold()


@quiet
@given(data=st.data())
def test_everything_goes_by_exactly_its_name(case: Case, data: st.DataObject) -> None:
    facts, accounts = DATASTORES[case.dialect.manager], case.accounts
    host = data.draw(st.sampled_from(HOSTS)) if facts.hosts else "%"
    databases = NAMES.filter(lambda name: is_taken(facts.check_database, NewDatabase(name=name)))
    users = NAMES.filter(lambda name: is_taken(facts.check_user, name, host))
    database, other = data.draw(st.tuples(databases, databases).filter(differ))
    user, new = data.draw(st.tuples(users, users).filter(differ))
    names = tuple(sorted((database, other), key=str.encode))
    who, later = UserName(name=user, host=host), UserName(name=new, host=host)
    try:
        for each in names:
            accounts.create_database(NewDatabase(name=each))
        accounts.create_user(PlainUser(who, PASSWORD, (database,)))
        assert accounts.list_databases() == names
        assert accounts.list_users() == (User(name=user, host=host, databases=(database,)),)
        accounts.grant(who, other)
        (found,) = accounts.list_users()
        assert sorted(found.databases) == sorted(names)
        accounts.revoke(who, database)
        accounts.rename_user(who, later)
        assert accounts.list_users() == (User(name=new, host=host, databases=(other,)),)
        accounts.delete_database(database)
        assert accounts.list_databases() == (other,)
        accounts.delete_user(later)
        assert accounts.list_users() == ()
    finally:
        for left in accounts.list_users():
            accounts.delete_user(UserName(name=left.name, host=left.host))
        for name in accounts.list_databases():
            accounts.delete_database(name)


class ManyNames:
    """Accounts of an engine with more than an answer holds."""

    def __init__(self, count: int) -> None:
        self._names = tuple(f"{number:04}".ljust(64, "x") for number in range(count))

    def list_databases(self) -> tuple[str, ...]:
        return self._names

    def list_users(self) -> tuple[User, ...]:
        return (User(name="amy", databases=self._names), User(name="bob"))


@pytest.mark.parametrize("limit", [1, 20, 1000, 10_000])
@pytest.mark.parametrize("count", [0, 1, 20, 500, LONGEST_ANSWER // 67 - 4, LONGEST_ANSWER // 67 + 4, 5000])
def test_pages_tell_each_database_once_whatever_an_answer_holds(count: int, limit: int) -> None:
    services: Any = type("Services", (), {"accounts": ManyNames(count)})
    verbs, told, after = EngineAccounts(services), [], ""
    while (page := done(verbs.list_databases, DatabasesAfter(limit=limit, after=after))).more:
        assert 0 < len(page.databases) <= limit
        told += page.databases
        after = told[-1]
        if limit == 1 and len(told) > 50:
            return
    assert (*told, *page.databases) == ManyNames(count).list_databases()
    assert done(verbs.list_databases, DatabasesAfter(limit=0)).databases == ()


@pytest.mark.parametrize("count", [500, LONGEST_ANSWER // 67 - 4, LONGEST_ANSWER // 67 + 4, 5000])
def test_a_user_is_told_with_all_of_its_databases(count: int) -> None:
    services: Any = type("Services", (), {"accounts": ManyNames(count)})
    verbs, amy = EngineAccounts(services), UserName(name="amy")
    assert done(verbs.get_user, UserName(name="bob")).databases == ()
    assert [each.name for each in done(verbs.list_users, UsersAfter(after=amy)).users] == ["bob"]
    first = done(verbs.list_users, UsersAfter(limit=1))
    assert first.more
    assert first.users == (done(verbs.get_user, amy),)
    assert len(first.users[0].model_dump_json()) < MAX_BYTES
    told, more = first.users[0].databases, first.users[0].more_databases
    assert more == (len(told) < count)
    if not more:
        assert [each.name for each in done(verbs.list_users).users] == ["amy", "bob"]
    while more:
        page = done(verbs.list_databases, DatabasesAfter(user=amy, after=told[-1]))
        told, more = told + page.databases, page.more
    assert told == ManyNames(count).list_databases()
