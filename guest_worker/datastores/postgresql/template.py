"""PostgreSQL's configuration, as pure functions of the machine's memory."""

from collections.abc import Mapping

from contract.domain.datastores.postgresql import BACKUP_USER
from contract.domain.tls import TlsMode
from guest_worker.datastores.process import text_of


def sized(memory_mib: int) -> dict[str, str]:
    """What depends on memory: a quarter for shared buffers, and connections that fit beside them."""
    connections = min(1000, max(50, memory_mib // 10))
    return {
        "shared_buffers": f"{max(32, memory_mib // 4)}MB",
        "effective_cache_size": f"{max(64, memory_mib * 5 // 8)}MB",
        "maintenance_work_mem": f"{max(16, memory_mib // 16)}MB",
        "work_mem": f"{max(1, memory_mib // 4 // connections)}MB",
        "max_connections": str(connections),
    }


FIXED = {
    "fsync": "on",  # what was acknowledged is on disk
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",
    "log_statement": "none",  # statements may carry passwords
    "log_min_error_statement": "panic",
    "log_destination": "stderr",
    "logging_collector": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_preload_libraries": "",
}

# On the command line: what a superuser of the tenant's must not change, or the guest would not know its engine any more.
FIRM = {
    "lc_messages": "C",
    "logging_collector": "off",
    "log_destination": "stderr",
    "password_encryption": "scram-sha-256",
    "superuser_reserved_connections": "5",
}

# how everybody but the administrator is let in by TCP, by mode
ENTRANCES = {TlsMode.ENFORCED: ("hostssl", ""), TlsMode.MTLS: ("hostssl", " clientcert=verify-ca")}
ACCESS = """# TYPE  DATABASE  USER      ADDRESS    METHOD
local   all       os_admin             scram-sha-256
local   all       all                  reject
local   replication {backup}           scram-sha-256
host    all       os_admin  0.0.0.0/0  reject
host    all       os_admin  ::/0       reject
{type} all       all       0.0.0.0/0  scram-sha-256{option}
{type} all       all       ::/0       scram-sha-256{option}
"""


def access(mode: TlsMode | None) -> str:
    """Return pg_hba.conf for a mode of TLS."""
    kind, option = ENTRANCES.get(mode, ("host", "")) if mode else ("host", "")
    return ACCESS.format(backup=BACKUP_USER, type=kind.ljust(7), option=option)


def render(paths: Mapping[str, str], memory_mib: int, settings: Mapping[str, str]) -> str:
    """Return postgresql.conf; later settings win over ours, paths over all."""
    chosen = {**FIXED, **sized(memory_mib), **settings, **paths}
    return text_of({key: value.replace("'", "''") for key, value in chosen.items()}, "{key} = '{value}'")
