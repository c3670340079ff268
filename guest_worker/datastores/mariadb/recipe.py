"""What an image of MariaDB is made of."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from guest_worker import host
from guest_worker.datastores.recipe import Recipe

SMALL_LOG = "--innodb-log-file-size=4M"  # the first start makes it as large as is configured


def version(prefix: str = "") -> str:
    """Major and minor version: 10.11."""
    words = host.run([host.find_program("mariadbd", f"{prefix}/usr/sbin"), "--version"]).split()
    number = words[words.index("Ver") + 1]
    return ".".join(number.split("-")[0].split(".")[:2])


def program(name: str, prefix: str = "") -> str:
    """The path of one of its programs."""
    return host.find_program(name, f"{prefix}/usr/sbin", f"{prefix}/usr/bin") if prefix else host.find_program(name)


def install(prefix: str, folder: Path) -> Sequence[str]:
    """The command that makes a data directory: the system tables, and accounts that the driver removes."""
    root = ["--user=root"] if os.geteuid() == 0 else []  # in the set-up alone; said, for MariaDB refuses it otherwise
    return [program("mariadb-install-db", prefix), "--no-defaults", *root, f"--datadir={folder}", "--skip-test-db",
            "--skip-name-resolve", "--auth-root-authentication-method=normal", SMALL_LOG]  # fmt: skip


RECIPE = Recipe(
    packages={
        "mariadb-server-core": lambda: bool(shutil.which("mariadbd", path="/usr/sbin:/usr/bin")),
        "mariadb-client-core": lambda: bool(shutil.which("my_print_defaults")),
    },
    programs=("mariadbd", "mariadb-install-db"),
    version=version,
    install=install,
)
