"""Pure rules about engines: names, hosts, character sets, and the configuration that follows a server's memory."""

import ipaddress
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.domain.accounts import NewDatabase
from contract.domain.datastores import DATASTORES
from contract.domain.datastores.hosts import canonical, covers, matches
from contract.domain.datastores.mariadb import check_database, collations_of, series
from contract.domain.datastores.naming import check_name, check_reserved, check_secret
from contract.domain.datastores.postgresql import encoding_of
from guest_worker.datastores import managers

FORBIDDEN = "'\"`\\;,/"
HOSTS = st.sampled_from(["%", "10.%", "10.1.%", "10.1.2.3", "10.0.0.0/255.0.0.0", "10.1.0.0/255.255.0.0", "10.1.2._"])
Template = Callable[[Mapping[str, str], int, Mapping[str, str]], str]


def refuses(check: Callable[..., object], *values: object) -> bool:
    """Whether a check says no."""
    try:
        check(*values)
    except ValueError:
        return True
    return False


def template_of(manager: str) -> Any:
    """The module with an engine's configuration."""
    return import_module(f"guest_worker.datastores.{manager}.template")


# -- names -------------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=40))
def test_letters_and_digits_are_a_name_up_to_its_length(name: str) -> None:
    length = len(name.encode())
    check_name("name", name, length)
    assert refuses(check_name, "name", name, length - 1)


@given(
    st.text(min_size=1, max_size=20), st.sampled_from([*FORBIDDEN, "\0", "\n", "\x7f", "\u202e", "\ud800", "\u2028"])
)
def test_what_ends_a_quotation_or_cannot_be_seen_is_in_no_name(text: str, sign: str) -> None:
    assert all(refuses(check_name, "name", each, 1000) for each in (f"a{sign}{text}", f"{text}{sign}a"))


@pytest.mark.parametrize("name", ["", " a", "a ", "\u00a0a", ".", ".."])
def test_what_a_url_or_a_reader_loses_is_no_name(name: str) -> None:
    assert refuses(check_name, "name", name, 64)


@pytest.mark.parametrize("manager", DATASTORES)
def test_reserved_names_are_refused_however_they_are_written(manager: str) -> None:
    facts = DATASTORES[manager]
    for name in facts.reserved_databases:
        for form in (name, name.upper(), name.title()):
            assert refuses(check_reserved, "database", form, facts.reserved_databases)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=256))
def test_a_password_is_any_text_without_control_characters(password: str) -> None:
    check_secret(password)
    assert refuses(check_secret, f"{password}\n")
    assert refuses(check_secret, password + "x" * 257)


def test_a_refused_password_is_not_told() -> None:
    with pytest.raises(ValueError) as refused:
        check_secret("secret\n")
    assert "secret" not in str(refused.value)


# -- hosts -------------------------------------------------------------------------------------------------------------


@given(st.ip_addresses(v=4))
def test_an_address_is_itself_in_every_form(address: ipaddress.IPv4Address) -> None:
    assert canonical(str(address)) == canonical(f"{address}/32") == canonical(f"::ffff:{address}") == str(address)


@given(st.ip_addresses(v=4), st.integers(1, 31))
def test_a_network_is_the_same_by_bits_and_by_netmask(address: ipaddress.IPv4Address, bits: int) -> None:
    network = ipaddress.IPv4Network((int(address), bits), strict=False)
    by_mask = f"{network.network_address}/{network.netmask}"
    assert canonical(str(network)) == canonical(by_mask) == by_mask
    if address != network.network_address:
        assert refuses(canonical, f"{address}/{bits}")


@given(st.text("0123456789.%_:/abf", min_size=1, max_size=20))
def test_the_canonical_form_of_a_host_is_its_own(host: str) -> None:
    if not refuses(canonical, host):
        assert canonical(canonical(host)) == canonical(host)


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(1, 32))
def test_a_network_lets_in_its_addresses_alone(
    address: ipaddress.IPv4Address, client: ipaddress.IPv4Address, bits: int
) -> None:
    network = ipaddress.IPv4Network((int(address), bits), strict=False)
    host = canonical(str(network))
    assert matches(host, str(network.network_address)) and matches(host, str(network.broadcast_address))
    assert matches(host, str(client)) == (client in network)


@given(HOSTS, HOSTS, st.ip_addresses(network="10.1.2.0/24"))
def test_a_host_that_covers_another_lets_in_all_its_clients(
    wide: str, narrow: str, client: ipaddress.IPv4Address
) -> None:
    if covers(wide, narrow) and matches(narrow, str(client)):
        assert matches(wide, str(client))


@pytest.mark.parametrize(
    "wide, narrow",
    [
        ("%", "10.1.%"),
        ("10.%", "10.1.%"),
        ("10.%", "10.1.0.0/255.255.0.0"),
        ("10.0.0.0/255.0.0.0", "10.1.0.0/255.255.0.0"),
        ("10.0.0.0/255.0.0.0", "10.1.2.3"),
    ],
)
def test_what_covers_is_found_and_not_the_other_way_round(wide: str, narrow: str) -> None:
    assert covers(wide, narrow)
    assert not covers(narrow, wide)


# -- character sets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", series())
def test_each_collation_belongs_to_its_character_sets_alone(version: str) -> None:
    collations = collations_of(version)
    for charset, names in collations.items():
        for other, others in collations.items():
            for collate in sorted(others)[:3]:
                database = NewDatabase(name="app", character_set=charset, collate=collate)
                assert refuses(check_database, collations, database) == (collate not in names), (charset, other)


@pytest.mark.parametrize("manager", DATASTORES)
def test_an_engine_takes_common_names_and_refuses_its_own_and_ours(manager: str) -> None:
    facts = DATASTORES[manager]
    facts.check_user("amy", "%")
    facts.check_password("secret")
    facts.check_database(NewDatabase(name="app"))
    for name in facts.reserved_users:
        assert refuses(facts.check_user, name, "%")
    assert refuses(facts.check_database, NewDatabase(name="app", character_set="no-such-set"))
    assert refuses(facts.check_database, NewDatabase(name="app", collate="no_such_collation"))
    assert facts.hosts or refuses(facts.check_user, "amy", "10.0.0.1")


@pytest.mark.parametrize("charset, collate, gets", [
    (None, None, ("UTF8", "C.UTF-8")),
    ("utf-8", None, ("UTF8", "C.UTF-8")),
    ("latin1", None, ("LATIN1", "C")),
    ("utf8", "C.utf8", ("UTF8", "C.utf8")),
])  # fmt: skip
def test_a_database_of_postgresql_gets_a_locale_that_fits(
    charset: str | None, collate: str | None, gets: object
) -> None:
    assert encoding_of(NewDatabase(name="app", character_set=charset, collate=collate)) == gets


@pytest.mark.parametrize("charset, collate", [("latin1", "C.UTF-8"), ("klingon", None), (None, "tlh_QO.UTF-8")])
def test_an_encoding_and_a_locale_that_do_not_fit_are_refused(charset: str | None, collate: str | None) -> None:
    assert refuses(encoding_of, NewDatabase(name="app", character_set=charset, collate=collate))


# -- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manager", managers())
@given(memory=st.integers(256, 1_048_576), more=st.integers(1, 1_048_576))
def test_more_memory_never_means_less_of_anything_but_work_of_one_query(manager: str, memory: int, more: int) -> None:
    small, large = (_numbers(template_of(manager).sized(each)) for each in (memory, memory + more))
    assert small.keys() == large.keys()
    assert all(small[name] <= large[name] for name in small if name != "work_mem")


@pytest.mark.parametrize("manager", managers())
@given(memory=st.integers(512, 1_048_576))
def test_buffers_leave_room_for_the_rest(manager: str, memory: int) -> None:
    sizes = template_of(manager).sized(memory)
    buffers = sizes.get("shared_buffers") or sizes["innodb_buffer_pool_size"]
    mebibytes = int(buffers.removesuffix("MB")) if buffers.endswith("MB") else int(buffers) // 1024**2
    assert mebibytes <= memory // 2


@pytest.mark.parametrize("manager", managers())
def test_settings_win_over_ours_and_paths_over_all(manager: str) -> None:
    render: Template = template_of(manager).render
    key = next(iter(template_of(manager).sized(1024)))
    ours, chosen = render({}, 1024, {}), render({}, 1024, {key: "chosen"})
    assert _value(ours, key) not in ("chosen", "")
    assert _value(chosen, key) == "chosen"
    assert _value(render({key: "a path"}, 1024, {key: "chosen"}), key) == "a path"


def _numbers(sizes: Mapping[str, str]) -> dict[str, int]:
    return {name: int(value.removesuffix("MB")) for name, value in sizes.items()}


def _value(text: str, key: str) -> str:
    (line,) = [each for each in text.splitlines() if each.partition(" = ")[0] == key]
    return line.partition(" = ")[2].strip("'")
