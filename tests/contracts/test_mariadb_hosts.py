"""Hosts of users, as MariaDB means them: whoever fits is let in, nobody else, whatever form was asked for."""

import ipaddress
import itertools
import re
from contextlib import closing, suppress
from typing import Any

import pymysql
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from contract.domain.accounts import UserName
from contract.domain.datastores.mariadb import MARIADB
from contract.domain.errors import BadRequest
from guest_worker.datastores.base import PlainUser
from tests.contracts.conftest import PASSWORD, Case

pytestmark = pytest.mark.parametrize("case", ["mariadb"], indirect=True)
quiet = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
octets = st.integers(0, 255)
clients = st.builds(lambda a, b, c: f"127.{a}.{b}.{c}", st.integers(0, 3), octets, st.integers(1, 254))


@st.composite
def hosts_around(draw: st.DrawFn) -> tuple[str, str]:
    """A client's address, and a host that may have been written for it."""
    client = draw(clients)
    parts = client.split(".")
    bits = draw(st.integers(8, 32))
    network = ipaddress.IPv4Network(f"{client}/{bits}", strict=False)
    kept = draw(st.integers(1, 3))
    wild = [draw(st.sampled_from([part, part, "%", part[0] + "%"])) for part in parts]
    form = draw(
        st.sampled_from([
            client, f"{client}/32", str(network), network.with_netmask, f"{client}/{bits}", f"{client}/{network.netmask}",
            ".".join(parts[:kept]) + ".%", ".".join(wild), "%", "%%", f"::ffff:{client}", "0.0.0.0/0", client.replace("1", "_"),
        ])
    )  # fmt: skip
    return client, form


def services(host: str, client: str) -> bool:
    """What a host says, read by a reader of its own."""
    if "/" in host:
        return ipaddress.IPv4Address(client) in ipaddress.IPv4Network(host, strict=False)
    if host.startswith("::ffff:"):
        return host.removeprefix("::ffff:") == client
    return re.fullmatch(re.escape(host).replace("%", ".*").replace("_", "."), client) is not None


def login(case: Case, user: str, client: str) -> str | None:
    """The account that a client from an address gets, or None."""
    try:
        connection: Any = pymysql.connect(
            host=case.address, user=user, password=PASSWORD, bind_address=client, ssl_disabled=True
        )
    except pymysql.err.OperationalError as error:
        assert error.args[0] in (1045, 1130), error
        return None
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER()")
        return str(cursor.fetchone()[0])


@quiet
@given(context=hosts_around(), other=clients)
def test_a_host_that_is_taken_lets_in_whom_it_fits_alone(app: Case, context: tuple[str, str], other: str) -> None:
    client, host = context
    with suppress(Exception):
        app.accounts.delete_user(UserName(name="hal", host=host))
    try:
        app.accounts.create_user(PlainUser(UserName(name="hal", host=host), PASSWORD))
    except BadRequest:
        assert "/" in host, f"{host} was refused"
        base, _, mask = host.partition("/")
        network = ipaddress.IPv4Network(f"{base}/{mask}", strict=False)
        assert str(network.network_address) != base, f"{host} was refused"
        return
    try:
        for address in (client, other):
            assert (login(app, "hal", address) is not None) == services(host, address), (host, address)
        ((kept,),) = [(each.host,) for each in app.accounts.list_users() if each.name == "hal"]
        assert kept == MARIADB.canonical_host(host) == MARIADB.canonical_host(kept)
        app.accounts.set_password(UserName(name="hal", host=host), PASSWORD)  # found in the form that was asked for
    finally:
        app.accounts.delete_user(UserName(name="hal", host=host))


@quiet
@given(context=st.lists(hosts_around(), min_size=2, max_size=4), client=clients)
def test_sessions_are_told_apart_as_a_login_chooses(app: Case, context: list[tuple[str, str]], client: str) -> None:
    hosts = set()
    for _, host in context:
        with suppress(ValueError):
            hosts.add(MARIADB.canonical_host(host))
    assume(len(hosts) > 1)
    users = [UserName(name="hal", host=host) for host in hosts]
    try:
        for user in users:
            app.accounts.create_user(PlainUser(user, PASSWORD))
        addresses = [client, *(each for each, _ in context)]
        sessions: list[tuple[str, Any]] = []
        for address in addresses:
            with suppress(pymysql.err.OperationalError):
                session: Any = pymysql.connect(
                    host=app.address, user="hal", password=PASSWORD, bind_address=address, autocommit=True,
                    ssl_disabled=True,
                )  # fmt: skip
                sessions.append((str(app.ask(session, "SELECT CURRENT_USER()")[0][0]), session))
        gone = users.pop()
        app.accounts.delete_user(gone)
        for account, session in sessions:
            ended = account == f"hal@{gone.host}"
            with closing(session):
                assert alive(app, session) != ended, (account, gone, hosts)
    finally:
        for user in users:
            app.accounts.delete_user(user)


def alive(case: Case, session: Any) -> bool:
    """Whether a session still gets answers."""
    try:
        return bool(case.ask(session, "SELECT 1"))
    except pymysql.err.MySQLError:
        return False


@pytest.mark.parametrize(
    "host",
    [
        "127.24.9.9/255.255.0.0", "127.24.0.0/0.0.255.255", "127.24.0.0/255.0.255.0", "10.0.0.1/8", "10.0.0.0/33",
        "10.0.0.0/-1", "10.0.0/8", "10.0.0.0/", "/8", "2001:db8::/32", "2001:db8:0:%", "2001:%:1", "%:1", "fe80::1%eth0",
        "localhost", "db.example", "256.0.0.%", "01.0.0.1", "10.0.0.%.%", "1.2.3", "1.2.3.4.5", "10.0.0.0/8/8", "::1.2.3.4",
        "10.0.0.0/255.0.0.0 ", " 10.0.0.1", "10.0.0.1\n", "10.0.0.٣", "", "__", "300%", "%.%.%.%.%", "a%",
    ],
)  # fmt: skip
def test_hosts_that_match_nobody_are_refused(case: Case, host: str) -> None:
    with pytest.raises(BadRequest, match="host"):
        case.accounts.create_user(PlainUser(UserName(name="hal", host=host), PASSWORD))
    assert case.accounts.list_users() == ()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("10.0.0.0/24", "10.0.0.0/255.255.255.0"), ("10.0.0.7/32", "10.0.0.7"), ("0.0.0.0/0", "%"), ("%%", "%"),
        ("10.0.0.7/255.255.255.255", "10.0.0.7"), ("10.0.0.0/255.255.254.0", "10.0.0.0/255.255.254.0"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"), ("::FFFF:10.0.0.1", "10.0.0.1"), ("2001:DB8:%", "2001:db8:%"),
        ("10.%", "10.%"),
    ],
)  # fmt: skip
def test_forms_become_one(case: Case, said: str, kept: str) -> None:
    assert MARIADB.canonical_host(said) == kept


def test_a_new_host_never_locks_a_fitting_client_out(app: Case) -> None:
    forms = ("127.0.0.0/8", "127.7.0.0/255.255.0.0", "127.7.7.7/32", "127.7.%", "127.7.7.7")
    for old, new in itertools.pairwise(("%", *forms, "%")):
        app.accounts.rename_user(UserName(name="amy", host=old), UserName(name="amy", host=new))
        assert login(app, "amy", "127.7.7.7"), new
        assert (login(app, "amy", "127.9.9.9") is not None) == services(new, "127.9.9.9"), new
