"""What tenants may set of PostgreSQL. `python -m guest_worker.datastores.postgresql.parameters [PREFIX]` writes its data.

To be run where that version is installed, and not as root.
"""

import sys
from collections.abc import Iterable
from typing import Any

from guest_worker.datastores.parameters import Engine, at_most, between, offered, write
from guest_worker.datastores.postgresql.driver import PostgreSQL
from guest_worker.datastores.postgresql.session import Session

KINDS = {"bool": "boolean", "integer": "integer", "real": "float", "enum": "string", "string": "string"}
MILLISECONDS_OF_A_DAY = 86_400_000
OFFERED = offered(
    """
    array_nulls autovacuum autovacuum_analyze_scale_factor autovacuum_analyze_threshold autovacuum_freeze_max_age
    autovacuum_multixact_freeze_max_age autovacuum_naptime autovacuum_vacuum_cost_delay autovacuum_vacuum_cost_limit
    autovacuum_vacuum_insert_scale_factor autovacuum_vacuum_insert_threshold autovacuum_vacuum_scale_factor
    autovacuum_vacuum_threshold backend_flush_after backslash_quote bgwriter_delay bgwriter_flush_after bgwriter_lru_maxpages
    bgwriter_lru_multiplier bytea_output checkpoint_completion_target checkpoint_flush_after
    commit_delay commit_siblings constraint_exclusion cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost
    cursor_tuple_fraction default_statistics_target default_toast_compression default_transaction_deferrable
    default_transaction_isolation effective_cache_size effective_io_concurrency enable_async_append
    enable_bitmapscan enable_gathermerge enable_hashagg enable_hashjoin enable_incremental_sort enable_indexonlyscan
    enable_indexscan enable_material enable_memoize enable_mergejoin enable_nestloop enable_parallel_append
    enable_parallel_hash enable_partition_pruning enable_partitionwise_aggregate enable_partitionwise_join enable_seqscan
    enable_sort enable_tidscan escape_string_warning extra_float_digits from_collapse_limit geqo geqo_effort geqo_generations
    geqo_pool_size geqo_seed geqo_selection_bias geqo_threshold gin_fuzzy_search_limit
    hash_mem_multiplier intervalstyle jit jit_above_cost jit_inline_above_cost
    jit_optimize_above_cost join_collapse_limit lo_compat_privileges maintenance_io_concurrency
    max_parallel_maintenance_workers max_parallel_workers max_parallel_workers_per_gather min_parallel_index_scan_size
    min_parallel_table_scan_size parallel_leader_participation parallel_setup_cost parallel_tuple_cost plan_cache_mode
    quote_all_identifiers random_page_cost recursive_worktable_factor seq_page_cost standard_conforming_strings
    statement_timeout synchronize_seqscans tcp_keepalives_count tcp_keepalives_idle tcp_keepalives_interval tcp_user_timeout
    temp_file_limit track_functions track_io_timing track_wal_io_timing transform_null_equals vacuum_cost_delay
    vacuum_cost_limit vacuum_cost_page_dirty vacuum_cost_page_hit vacuum_cost_page_miss vacuum_failsafe_age
    vacuum_freeze_min_age vacuum_freeze_table_age vacuum_multixact_failsafe_age vacuum_multixact_freeze_min_age
    vacuum_multixact_freeze_table_age wal_compression wal_skip_threshold wal_writer_delay wal_writer_flush_after
    xmlbinary xmloption
    """,
    autovacuum_max_workers=at_most(64),
    autovacuum_work_mem=at_most(2**20),
    checkpoint_timeout=at_most(3600),
    client_connection_check_interval=at_most(MILLISECONDS_OF_A_DAY),
    deadlock_timeout=between(10, 600_000),
    gin_pending_list_limit=at_most(2**20),
    huge_pages={"choices": ["off", "try"]},  # with "on" a machine without them does not start it
    idle_in_transaction_session_timeout=at_most(2**31 - 1),
    idle_session_timeout=at_most(2**31 - 1),
    lock_timeout=at_most(2**31 - 1),
    logical_decoding_work_mem=at_most(2**20),
    maintenance_work_mem=at_most(2**24),
    max_connections=between(20, 5000),  # some are kept for the guest
    max_files_per_process=between(256, 100_000),
    max_locks_per_transaction=at_most(4096),
    max_pred_locks_per_transaction=at_most(4096),
    max_prepared_transactions=at_most(1000),
    max_worker_processes=between(1, 256),
    shared_buffers={"minimum": 128, "memory": True},
    temp_buffers=at_most(2**20),
    timezone={},
    track_activity_query_size=at_most(65_536),
    wal_buffers=at_most(16_384),
    work_mem=at_most(2**22),
)


def ask(session: Session, names: Iterable[str]) -> list[dict[str, Any]]:
    """What the engine says of its parameters."""
    rows = session.rows(
        "SELECT lower(name), vartype, context, min_val, max_val, enumvals, unit FROM pg_settings WHERE lower(name) = ANY(%s)",
        (list(names),),
    )
    zones = [
        str(name) for (name,) in session.rows("SELECT name FROM pg_timezone_names WHERE name !~ '^(posix|right)/'")
    ]
    return [
        {
            "name": name,
            "type": KINDS[kind],
            "restart": context == "postmaster",
            "minimum": _number(kind, lowest),
            "maximum": _number(kind, highest),
            "choices": sorted(zones) if name == "timezone" else [str(each) for each in choices or ()],
            "unit": unit,
        }
        for name, kind, context, lowest, highest, choices, unit in rows
    ]


def _number(kind: str, text: str | None) -> int | float | None:
    if text is None or kind not in ("integer", "real"):
        return None
    return int(text) if kind == "integer" else float(text)


if __name__ == "__main__":
    write(
        Engine(PostgreSQL, OFFERED, ask, {"listen_addresses": "", "fsync": "off"}, parts=1),
        sys.argv[1] if sys.argv[1:] else "",
    )
