"""MariaDB's configuration, as pure functions of the machine's memory."""

from collections.abc import Mapping

from guest_worker.datastores.process import text_of

MIB = 1024 * 1024


def sized(memory_mib: int) -> dict[str, str]:
    """What depends on memory: half of it for InnoDB's buffer pool, and connections that fit beside it."""
    pool = max(64, memory_mib // 2)
    return {
        "innodb_buffer_pool_size": str(pool * MIB),
        "max_connections": str(min(2000, max(50, memory_mib // 8))),
        "table_open_cache": str(min(4000, max(400, memory_mib // 2))),
    }


FIXED = {
    "innodb_flush_log_at_trx_commit": "1",  # what was acknowledged is on disk
    "sync_binlog": "1",
    "innodb_flush_method": "O_DIRECT",
    "innodb_file_per_table": "1",
    "innodb_log_file_size": str(96 * MIB),
    "character_set_server": "utf8mb4",
    "collation_server": "utf8mb4_general_ci",
    "skip_name_resolve": "1",  # hosts are addresses
    "local_infile": "0",
    "symbolic_links": "0",
    "general_log": "0",  # statements may carry passwords
}


def render(paths: Mapping[str, str], memory_mib: int, settings: Mapping[str, str]) -> str:
    """Return my.cnf; later settings win over ours, paths over all."""
    chosen = {**FIXED, **sized(memory_mib), **settings, **paths}
    return "[mariadbd]\n" + text_of(chosen, "{key} = {value}")
