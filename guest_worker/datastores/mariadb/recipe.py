"""What an image of MariaDB is made of."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from guest_worker import host
from guest_worker.datastores.recipe import Recipe
from guest_worker.datastores.store import Store

SMALL_LOG = "--innodb-log-file-size=4M"  # the first start makes it as large as is configured


def version(prefix: str = "") -> str:
    """Major and minor version: 10.11."""
    words = host.run([program("mariadbd", prefix), "--version"]).split()
    number = words[words.index("Ver") + 1]
    return ".".join(number.split("-")[0].split(".")[:2])


def program(name: str, prefix: str = "") -> str:
    """The path of one of its programs."""
    return host.find_program(name, f"{prefix}/bin") if prefix else host.find_program(name)


def parts(prefix: str) -> dict[str, str]:
    """Where the engine's own files are, which would else be looked for in the system's folders."""
    if not prefix:
        return {}
    return {
        "basedir": f"{prefix}/usr",
        "lc_messages_dir": f"{prefix}/usr/share/mariadb",
        "character_sets_dir": f"{prefix}/usr/share/mariadb/charsets",
        "plugin_dir": f"{prefix}/usr/lib/mysql/plugin",
    }


def install(prefix: str, folder: Path) -> Sequence[str]:
    """The command that makes a data directory: the system tables, and accounts that the driver removes."""
    how = ["--user=root"] if os.geteuid() == 0 else []  # in the set-up alone; said, for MariaDB refuses it otherwise
    how += [f"--basedir={prefix}/usr"] if prefix else []
    return [program("mariadb-install-db", prefix), "--no-defaults", *how, f"--datadir={folder}", "--skip-test-db",
            "--skip-name-resolve", "--auth-root-authentication-method=normal", SMALL_LOG]  # fmt: skip


RECIPE = Recipe(
    packages={
        "mariadb-server-core": lambda: bool(shutil.which("mariadbd", path="/usr/sbin:/usr/bin")),
        "mariadb-client-core": lambda: bool(shutil.which("my_print_defaults")),
        "mariadb-backup": lambda: bool(shutil.which("mariadb-backup")),
    },
    programs=("mariadbd", "mariadb-install-db", "mariadb-upgrade", "mariadb-backup", "mbstream"),
    newer=(
        Store(
            suite="trixie",
            package="mariadb-server-core",
            series="1:11.8",
            programs=(
                "usr/sbin/mariadbd",
                "usr/bin/mariadb-install-db",
                "usr/bin/my_print_defaults",
                "usr/bin/resolveip",
                "usr/bin/mariadb-upgrade",
                "usr/bin/mariadb-check",
                "usr/bin/mariadb",
                "usr/bin/mariadb-backup",
                "usr/bin/mbstream",
            ),
            beside=("mariadb-client-core", "mariadb-backup"),
        ),
    ),
    version=version,
    install=install,
)
