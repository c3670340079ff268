"""What tenants may set of MariaDB. `python -m guest_worker.datastores.mariadb.parameters [PREFIX]` writes the version's data.

To be run where that version is installed, and not as root.
"""

import sys
from collections.abc import Iterable
from typing import Any

from guest_worker.datastores.mariadb import sql
from guest_worker.datastores.mariadb.driver import MariaDB
from guest_worker.datastores.mariadb.session import Session
from guest_worker.datastores.parameters import Engine, at_most, between, offered, write

MIB, GIB = 2**20, 2**30
GONE = frozenset({"old_alter_table"})  # from 11 on
KINDS = {"BOOLEAN": "boolean", "DOUBLE": "float", "ENUM": "string", "SET": "string"}
# of both engines
COMMON = offered(
    """
    auto_increment_increment auto_increment_offset concurrent_insert default_week_format div_precision_increment
    eq_range_index_dive_limit explicit_defaults_for_timestamp
    innodb_adaptive_flushing innodb_adaptive_flushing_lwm innodb_adaptive_hash_index innodb_autoinc_lock_mode
    innodb_cmp_per_index_enabled innodb_compression_failure_threshold_pct innodb_compression_level
    innodb_compression_pad_pct_max innodb_deadlock_detect innodb_default_row_format innodb_fill_factor
    innodb_flush_neighbors innodb_flushing_avg_loops innodb_ft_enable_stopword innodb_ft_max_token_size
    innodb_ft_min_token_size innodb_ft_num_word_optimize innodb_lock_wait_timeout innodb_max_dirty_pages_pct
    innodb_max_dirty_pages_pct_lwm innodb_max_purge_lag_delay innodb_old_blocks_pct innodb_old_blocks_time
    innodb_optimize_fulltext_only innodb_random_read_ahead innodb_read_ahead_threshold innodb_rollback_on_timeout
    innodb_stats_auto_recalc innodb_stats_include_delete_marked innodb_stats_method innodb_stats_on_metadata
    innodb_stats_persistent innodb_strict_mode innodb_table_locks key_cache_age_threshold key_cache_division_limit
    local_infile log_bin_trust_function_creators low_priority_updates lock_wait_timeout max_delayed_threads max_error_count
    max_sort_length max_sp_recursion_depth min_examined_row_limit
    old_alter_table optimizer_prune_level optimizer_search_depth slow_launch_time sql_mode
    transaction_alloc_block_size transaction_prealloc_size updatable_views_with_limit
    """,
    back_log=between(10, 65_535),
    bulk_insert_buffer_size=at_most(GIB),
    connect_timeout=between(5, 3600),
    event_scheduler={"choices": ["OFF", "ON"]},
    group_concat_max_len=between(4, GIB),
    innodb_buffer_pool_size=between(32 * MIB, 2**42, memory=True),
    innodb_ft_cache_size={},
    innodb_ft_result_cache_limit=at_most(4 * GIB - 1),
    innodb_io_capacity=between(100, 100_000),
    innodb_io_capacity_max=between(100, 200_000),
    innodb_log_buffer_size=between(2 * MIB, GIB),
    innodb_lru_scan_depth=between(100, 65_536),
    innodb_online_alter_log_max_size=at_most(4 * GIB),
    innodb_open_files=between(100, 65_536),
    innodb_purge_threads=between(1, 32),
    innodb_read_io_threads=between(1, 64),
    innodb_sort_buffer_size={},
    innodb_stats_persistent_sample_pages=between(1, 100_000),
    innodb_stats_transient_sample_pages=between(1, 100_000),
    innodb_sync_spin_loops=at_most(100_000),
    innodb_write_io_threads=between(2, 64),
    interactive_timeout=between(60, 31_536_000),
    join_buffer_size=at_most(GIB),
    key_buffer_size=between(8192, 2**42, memory=True),
    key_cache_block_size=between(512, 16_384),
    long_query_time=at_most(31_536_000),
    max_allowed_packet=between(MIB, GIB),
    max_connect_errors=between(1, 2**32 - 1),
    max_connections=between(20, 10_000),  # some are the guest's
    max_heap_table_size=between(16_384, 4 * GIB),
    max_length_for_sort_data={},
    max_prepared_stmt_count=at_most(1_048_576),
    max_seeks_for_key=between(1, 2**32 - 1),
    max_write_lock_count=between(1, 2**32 - 1),
    myisam_sort_buffer_size=between(4096, GIB),
    net_buffer_length={},
    net_read_timeout=between(10, 31_536_000),
    net_retry_count=between(1, 1_000_000),
    net_write_timeout=between(10, 31_536_000),
    preload_buffer_size={},
    query_alloc_block_size=at_most(64 * MIB),
    query_prealloc_size=at_most(64 * MIB),
    range_alloc_block_size=at_most(64 * MIB),
    read_buffer_size=at_most(GIB),
    read_rnd_buffer_size=at_most(GIB),
    sort_buffer_size=at_most(GIB),
    stored_program_cache={},
    table_definition_cache=between(400, 65_536),
    table_open_cache=between(400, 65_536),
    table_open_cache_instances={},
    thread_cache_size=at_most(16_384),
    tmp_table_size=between(16_384, 4 * GIB),
    wait_timeout=between(60, 31_536_000),  # the guest's sessions are asked something every second
)
OFFERED = COMMON | offered(
    """
    analyze_sample_percentage aria_checkpoint_interval aria_page_checksum column_compression_threshold
    column_compression_zlib_level deadlock_search_depth_long deadlock_search_depth_short deadlock_timeout_long
    deadlock_timeout_short expensive_subquery_limit
    histogram_size histogram_type in_predicate_conversion_threshold
    innodb_prefix_index_cluster_optimization innodb_stats_modified_counter innodb_stats_traditional
    join_cache_level max_recursive_iterations optimizer_selectivity_sampling_limit
    optimizer_use_condition_selectivity progress_report_time rowid_merge_buff_size
    use_stat_tables
    """,
    aria_pagecache_buffer_size=between(128 * 1024, 2**42, memory=True),
    aria_sort_buffer_size=between(4096, GIB),
    idle_readonly_transaction_timeout=at_most(31_536_000),
    idle_transaction_timeout=at_most(31_536_000),
    idle_write_transaction_timeout=at_most(31_536_000),
    innodb_adaptive_hash_index_parts={},
    innodb_spin_wait_delay={},
    join_buffer_space_limit=between(2048, 4 * GIB),
    max_session_mem_used=between(64 * MIB, 2**42),
    max_statement_time=at_most(31_536_000),
    mrr_buffer_size=between(8192, GIB),
    optimizer_max_sel_arg_weight=at_most(1_000_000),
    sort_buffer_size=between(1024, GIB),
)
QUESTION = (
    "SELECT VARIABLE_NAME, VARIABLE_TYPE, READ_ONLY, NUMERIC_MIN_VALUE, NUMERIC_MAX_VALUE, NUMERIC_BLOCK_SIZE, ENUM_VALUE_LIST"
    " FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_SCOPE <> 'SESSION ONLY' AND VARIABLE_NAME IN"
)


def ask(session: Session, names: Iterable[str]) -> list[dict[str, Any]]:
    """What the engine says of its variables."""
    rows = session.rows(f"{QUESTION} ({sql.listed(map(sql.text, names))})")
    return [
        {
            "name": str(name).lower(),
            "type": KINDS.get(kind, "integer"),
            "restart": read_only == "YES",
            "minimum": _number(lowest),
            "maximum": _number(highest),
            "choices": [each for each in str(choices).split(",") if each] if kind in ("ENUM", "SET") else [],
            "several": kind == "SET",
        }
        for name, kind, read_only, lowest, highest, block, choices in rows
    ]


def _number(text: str | None) -> int | float | None:
    if text is None:
        return None
    return int(text) if str(text).lstrip("-").isdigit() else float(text)


if __name__ == "__main__":
    write(Engine(MariaDB, OFFERED, ask, {"skip_networking": "1"}, gone=GONE), sys.argv[1] if sys.argv[1:] else "")
