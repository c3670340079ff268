"""MySQL's configuration, as pure functions of the machine's memory."""

from collections.abc import Mapping

from guest_worker.datastores.mariadb.template import UNMEASURED
from guest_worker.datastores.process import text_of

MIB = 1024 * 1024


def sized(memory_mib: int) -> dict[str, str]:
    """What depends on memory: three eighths of it for InnoDB's buffer pool, for the server itself takes some 200 MiB."""
    return {
        "innodb_buffer_pool_size": str(max(64, memory_mib * 3 // 8) * MIB),
        "max_connections": str(min(2000, max(50, memory_mib // 8))),
        "table_open_cache": str(min(4000, max(400, memory_mib // 2))),
        "table_definition_cache": str(min(2000, max(400, memory_mib // 4))),
        "temptable_max_ram": str(max(16, memory_mib // 16) * MIB),
    }


FIXED = {
    "innodb_flush_log_at_trx_commit": "1",  # what was acknowledged is on disk
    "innodb_flush_method": "O_DIRECT",
    "innodb_redo_log_capacity": str(96 * MIB),
    "innodb_log_buffer_size": str(16 * MIB),
    "character_set_server": "utf8mb4",
    "skip_name_resolve": "1",  # hosts are addresses
    "host_cache_size": "0",
    "local_infile": "0",
    "general_log": "0",  # statements may carry passwords
    "mysqlx": "OFF",
    "disable_log_bin": "1",
    "persisted_globals_load": "OFF",  # what the tenant's root sets counts until the next start
    "activate_all_roles_on_login": "ON",
    "plugin_load_add": "auth_socket.so",  # the administrator's way in
    "auth_socket": "FORCE_PLUS_PERMANENT",
    # Who holds which lock, and nothing else of what it can measure.
    "performance_schema": "ON",
    "performance_schema_max_metadata_locks": "10000",
    **{f"loose_performance_schema_{each}": "0" for each in UNMEASURED if each != "max_statement_stack"},
}
INSTRUMENTS = (
    'performance_schema_instrument = "%=OFF"\nperformance_schema_instrument = "wait/lock/metadata/sql/mdl=ON"\n'
)


def render(paths: Mapping[str, str], memory_mib: int, settings: Mapping[str, str]) -> str:
    """Return my.cnf; later settings win over ours, paths over all."""
    chosen = {**FIXED, **sized(memory_mib), **settings, **paths}
    return "[mysqld]\n" + INSTRUMENTS + text_of(chosen, "{key} = {value}")
