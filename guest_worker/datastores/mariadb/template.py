"""MariaDB's configuration, as pure functions of the machine's memory."""

from collections.abc import Mapping

from guest_worker.datastores.process import text_of

MIB = 1024 * 1024


def sized(memory_mib: int) -> dict[str, str]:
    """What depends on memory: half of it for InnoDB's buffer pool, and connections that fit beside it."""
    pool, connections = max(64, memory_mib // 2), min(2000, max(50, memory_mib // 8))
    return {
        "innodb_buffer_pool_size": str(pool * MIB),
        "max_connections": str(connections),
        "thread_cache_size": str(
            min(256, connections)
        ),  # as the engine has it at its start, and not when it is asked later
        "table_open_cache": str(min(4000, max(400, memory_mib // 2))),
    }


UNMEASURED = (
    "accounts_size digests_size events_stages_history_long_size events_stages_history_size"
    " events_statements_history_long_size events_statements_history_size events_transactions_history_long_size"
    " events_transactions_history_size events_waits_history_long_size events_waits_history_size hosts_size"
    " max_cond_classes max_cond_instances max_file_classes max_file_handles max_file_instances max_index_stat"
    " max_memory_classes max_mutex_classes max_mutex_instances max_prepared_statements_instances"
    " max_program_instances max_rwlock_classes max_rwlock_instances max_socket_classes"
    " max_stage_classes max_statement_classes max_statement_stack max_table_handles max_table_instances"
    " max_table_lock_stat session_connect_attrs_size users_size"
).split()
FIXED = {
    "innodb_flush_log_at_trx_commit": "1",  # what was acknowledged is on disk
    "sync_binlog": "1",
    "innodb_flush_method": "O_DIRECT",
    "innodb_file_per_table": "1",
    "innodb_io_capacity_max": "2000",  # the same
    "innodb_log_file_size": str(96 * MIB),
    "character_set_server": "utf8mb4",
    "collation_server": "utf8mb4_general_ci",
    "skip_name_resolve": "1",  # hosts are addresses
    "local_infile": "0",
    "symbolic_links": "0",
    "general_log": "0",  # statements may carry passwords
    # Who holds which lock, and nothing else of what it can measure: 3 MiB.
    "loose_performance_schema": "ON",
    "loose_performance_schema_max_metadata_locks": "10000",
    "loose_performance_schema_setup_actors_size": "1",
    "loose_performance_schema_setup_objects_size": "1",
    **{f"loose_performance_schema_{each}": "0" for each in UNMEASURED},
}
INSTRUMENTS = (
    'loose_performance_schema_instrument = "%=OFF"\n'
    'loose_performance_schema_instrument = "wait/lock/metadata/sql/mdl=ON"\n'
)


def render(paths: Mapping[str, str], memory_mib: int, settings: Mapping[str, str]) -> str:
    """Return my.cnf; later settings win over ours, paths over all."""
    chosen = {**FIXED, **sized(memory_mib), **settings, **paths}
    return "[mariadbd]\n" + INSTRUMENTS + text_of(chosen, "{key} = {value}")
