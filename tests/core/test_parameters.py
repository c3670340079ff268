"""What may be set of an engine: values of JSON, settings as the guest reads them, and that both checks agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.domain.datastores import DATASTORES
from contract.domain.datastores.parameters import (
    Parameter,
    parameters_of,
    problems,
    refusals,
    setting_of,
)

FORBIDDEN = """
archive_command restore_command archive_library archive_cleanup_command recovery_end_command ssl_passphrase_command
shared_preload_libraries session_preload_libraries local_preload_libraries dynamic_library_path jit_provider
krb_server_keyfile data_directory hba_file ident_file external_pid_file config_file listen_addresses port
unix_socket_directories ssl ssl_cert_file fsync full_page_writes synchronous_commit wal_sync_method wal_level
zero_damaged_pages ignore_checksum_failure log_directory log_destination logging_collector log_statement
password_encryption allow_system_table_mods track_activities track_counts init_file init_connect init_slave plugin_dir
plugin_load plugin_load_add secure_file_priv datadir basedir tmpdir socket bind_address skip_grant_tables
skip_networking general_log general_log_file slow_query_log_file log_error innodb_flush_log_at_trx_commit
innodb_flush_method innodb_doublewrite innodb_force_recovery innodb_data_home_dir innodb_undo_directory sync_binlog
log_bin lower_case_table_names performance_schema sql_select_limit max_join_size max_user_connections skip_name_resolve
read_only admin_address mandatory_roles authentication_policy default_authentication_plugin
""".split()
SIZE = Parameter("size", "integer", minimum=64, maximum=2**20, unit="kB", memory=True)


@pytest.mark.parametrize("manager", DATASTORES)
def test_nothing_that_is_dangerous_is_offered(manager: str) -> None:
    offered = parameters_of(manager, "")
    assert len(offered) > 100
    assert offered.keys().isdisjoint(FORBIDDEN)
    for each in offered.values():
        assert each.name == each.name.lower()
        assert each.type != "string" or each.choices, f"{each.name}: any text"
        assert each.type not in ("integer", "float") or (each.minimum is not None and each.maximum is not None)


@pytest.mark.parametrize("manager", DATASTORES)
def test_the_guest_takes_what_the_control_plane_takes(manager: str) -> None:
    offered = parameters_of(manager, "")
    for each in offered.values():
        values = {"boolean": (True, False), "string": each.choices}.get(each.type, (each.minimum, each.maximum))
        for value in values:
            assert list(problems({each.name.upper(): value}, offered, "1")) == [], each.name
            assert list(refusals({each.name: setting_of(value)}, offered, 2**40)) == [], each.name  # type: ignore[arg-type]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner)))
def test_any_value_has_an_answer_and_no_more_passes_than_is_meant(value: object) -> None:
    for each in parameters_of("postgresql", "15").values():
        problem = each.problem(value)
        if problem is None and each.type == "string":
            assert str(value).lower() in {choice.lower() for choice in each.choices}
        if problem is None and each.type in ("integer", "float") and not isinstance(value, str):
            assert isinstance(value, int | float)
            assert each.minimum <= value <= each.maximum  # type: ignore[operator]


@given(st.text())
def test_no_text_of_a_setting_escapes_its_line(text: str) -> None:
    for manager in DATASTORES:
        offered = parameters_of(manager, "")
        for name in offered:
            if not list(refusals({name: text}, offered, 1024)):
                assert not set(text) & set("'\"\\\n\r#;"), (name, text)


@pytest.mark.parametrize(
    ("value", "fine"),
    [(64, True), (63, False), ("64kB", True), ("1MB", True), ("1GB", True), ("2GB", False), ("65536B", True), ("65537B", False),
     ("1 MB", True), ("64", False), ("64 min", False), ("kB", False), ("-1MB", False), (True, False), (64.0, False),
     ("\u0661MB", False), ("9" * 30 + "MB", False), ("64kB\n", False)],
)  # fmt: skip
def test_quantities(value: object, fine: bool) -> None:
    assert (SIZE.problem(value) is None) is fine


def test_memory_is_three_quarters_at_most() -> None:
    offered = {"size": SIZE}
    assert list(refusals({"size": "768MB"}, offered, 1024)) == []
    assert len(list(refusals({"size": "769MB", "other": "1"}, offered, 1024))) == 2
    assert list(refusals({"size": str(768 * 1024)}, offered, 1024)) == []
    assert len(list(refusals({"size": str(768 * 1024 + 1)}, offered, 1024))) == 1


def test_one_name_in_two_spellings_is_refused() -> None:
    assert "given twice" in next(problems({"size": 64, "SIZE": 64}, {"size": SIZE}, "1"))
    several = Parameter("mode", "string", choices=("A", "B"), several=True)
    assert [several.problem(each) is None for each in ("a,B", "", "A, b", "A,,B", "C")] == [
        True,
        True,
        True,
        False,
        False,
    ]
