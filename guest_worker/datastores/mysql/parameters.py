"""What tenants may set of MySQL. `python -m guest_worker.datastores.mysql.parameters [PREFIX]` writes the version's data.

To be run where that version is installed, in the folder `PREFIX` if not in the system's, and not as root.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from guest_worker.datastores.mariadb import sql
from guest_worker.datastores.mariadb.parameters import COMMON, GIB, MIB
from guest_worker.datastores.mariadb.session import Session, StatementRefused
from guest_worker.datastores.mysql.driver import MySQL
from guest_worker.datastores.parameters import Engine, at_most, between, offered, write

KINDS = {
    "Boolean": "boolean",
    "Numeric": "float",
    "Enumeration": "string",
    "Set": "string",
    "Integer": "integer",
    "String": "string",
}
READ_ONLY = 1238
# Which words these may be, the engine does not say.
CHOICES: Mapping[str, str] = {
    "concurrent_insert": "NEVER AUTO ALWAYS",
    "event_scheduler": "OFF ON",
    "innodb_default_row_format": "REDUNDANT COMPACT DYNAMIC",
    "innodb_stats_method": "nulls_equal nulls_unequal nulls_ignored",
    "internal_tmp_mem_storage_engine": "MEMORY TempTable",
    "sql_mode": "REAL_AS_FLOAT PIPES_AS_CONCAT ANSI_QUOTES IGNORE_SPACE ONLY_FULL_GROUP_BY NO_UNSIGNED_SUBTRACTION"
    " NO_DIR_IN_CREATE ANSI NO_AUTO_VALUE_ON_ZERO NO_BACKSLASH_ESCAPES STRICT_TRANS_TABLES STRICT_ALL_TABLES NO_ZERO_IN_DATE"
    " NO_ZERO_DATE ALLOW_INVALID_DATES ERROR_FOR_DIVISION_BY_ZERO TRADITIONAL HIGH_NOT_PRECEDENCE NO_ENGINE_SUBSTITUTION"
    " PAD_CHAR_TO_FULL_LENGTH TIME_TRUNCATE_FRACTIONAL",
    "updatable_views_with_limit": "NO YES",
    "transaction_isolation": "READ-UNCOMMITTED READ-COMMITTED REPEATABLE-READ SERIALIZABLE",
}
MARIADB_ALONE = {"max_length_for_sort_data"}
OFFERED = {name: offer for name, offer in COMMON.items() if name not in MARIADB_ALONE} | offered(
    """
    cte_max_recursion_depth end_markers_in_json histogram_generation_max_mem_size information_schema_stats_expiry
    innodb_adaptive_hash_index_parts innodb_flush_sync innodb_idle_flush_pct innodb_purge_batch_size
    innodb_spin_wait_delay innodb_spin_wait_pause_multiplier internal_tmp_mem_storage_engine max_points_in_geometry
    range_optimizer_max_mem_size regexp_stack_limit regexp_time_limit schema_definition_cache
    sql_require_primary_key tablespace_definition_cache transaction_isolation windowing_use_high_precision
    """,
    innodb_buffer_pool_size=between(128 * MIB, 2**42, memory=True),  # whole chunks of this size
    innodb_ddl_buffer_size=between(65_536, 4 * GIB - 1),
    innodb_ddl_threads={},
    innodb_page_cleaners={},
    innodb_parallel_read_threads={},
    max_execution_time=at_most(2**32 - 1),
    temptable_max_mmap=at_most(4 * GIB),
    temptable_max_ram=between(2 * MIB, 2**42, memory=True),
)


def ask(session: Session, names: Iterable[str]) -> list[dict[str, Any]]:
    """What the engine says of its variables; one that it does not let itself be told again is for its start."""
    rows = session.rows(
        "SELECT VARIABLE_NAME, DATA_TYPE, MIN_VALUE, MAX_VALUE FROM performance_schema.variables_metadata"
        f" WHERE VARIABLE_SCOPE IN ('GLOBAL', 'SESSION') AND VARIABLE_NAME IN ({sql.listed(map(sql.text, names))})"
    )
    return [
        {
            "name": str(name),
            "type": KINDS.get(str(kind), "string"),
            "restart": _is_read_only(session, str(name)),
            "minimum": _number(lowest),
            "maximum": _number(highest),
            "choices": CHOICES.get(str(name), "").split(),
            "several": kind == "Set",
        }
        for name, kind, lowest, highest in rows
    ]


def _is_read_only(session: Session, name: str) -> bool:
    try:
        session.rows(f"SET GLOBAL {name} = @@GLOBAL.{name}")
    except StatementRefused as error:
        if error.code == READ_ONLY:
            return True
        raise
    return False


def _number(text: str | None) -> int | float | None:
    if not text:
        return None
    return int(text) if str(text).lstrip("-").isdigit() else float(text)


if __name__ == "__main__":
    write(Engine(MySQL, OFFERED, ask, {"skip_networking": "1"}), sys.argv[1] if sys.argv[1:] else "")
