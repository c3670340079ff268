"""What an image of MariaDB is made of."""

import shutil

from guest_worker import host
from guest_worker.datastores.recipe import Recipe


def version(prefix: str = "") -> str:
    """Major and minor version: 10.11."""
    words = host.run([host.find_program("mariadbd", f"{prefix}/usr/sbin"), "--version"]).split()
    number = words[words.index("Ver") + 1]
    return ".".join(number.split("-")[0].split(".")[:2])


RECIPE = Recipe(
    packages={
        "mariadb-server-core": lambda: bool(shutil.which("mariadbd", path="/usr/sbin:/usr/bin")),
        "mariadb-client-core": lambda: bool(shutil.which("my_print_defaults")),
    },
    programs=("mariadbd", "mariadb-install-db"),
    version=version,
)
