"""The administrator's sessions with MySQL."""

from typing import Any

from guest_worker.datastores.mariadb import session
from guest_worker.datastores.mariadb.connecting import OTHER_WAY, UNLOGGED_SESSION, Connection
from guest_worker.datastores.mariadb.session import CLIENT_SECONDS, LOCK_SECONDS, LOGIN_SECONDS, STATEMENT_SECONDS
from guest_worker.datastores.mysql.connecting import connect

# What the tenant's root may have set for all sessions, and what bounds our statements. The engine bounds no others than
# reading ones; what else takes longer than its locks allow is cancelled by us.
SETTINGS = (
    f"{UNLOGGED_SESSION}, sql_mode = 'NO_ENGINE_SUBSTITUTION', autocommit = 1, transaction_read_only = 0,"
    " sql_quote_show_create = 1, completion_type = 0, foreign_key_checks = 1, group_concat_max_len = 1048576,"
    " sql_select_limit = 18446744073709551615, print_identified_with_as_hex = 1,"
    f" lock_wait_timeout = {LOCK_SECONDS}, innodb_lock_wait_timeout = {LOCK_SECONDS},"
    f" max_execution_time = {STATEMENT_SECONDS * 1000}, wait_timeout = 28800"
)
REFUSED = frozenset({1044, 1045, 1130, 1142, 1227, 1524, 1698, 1820, 1862, 3118, 3159, OTHER_WAY})
TIMED_OUT = frozenset({1205, 3024})


class Session(session.Session):
    """MySQL's."""

    kill = "KILL CONNECTION"
    refused = REFUSED
    timed_out = TIMED_OUT

    def _log_in(self) -> "Connection[Any]":
        return connect(self._socket, patience=LOGIN_SECONDS, seconds=CLIENT_SECONDS, settings=SETTINGS)
