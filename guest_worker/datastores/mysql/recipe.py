"""What an image of MySQL is made of. Debian's releases have no MySQL; its unstable suite has the one with long support."""

from guest_worker import host
from guest_worker.datastores.recipe import Recipe
from guest_worker.datastores.store import Store


def version(prefix: str = "") -> str:
    """Major and minor version: 9.7."""
    words = host.run([host.find_program("mysqld", f"{prefix}/bin"), "--version"]).split()
    number = words[words.index("Ver") + 1]
    return ".".join(number.split("-")[0].split(".")[:2])


RECIPE = Recipe(
    programs=("mysqld", "tar"),
    version=version,
    store=Store(suite="sid", package="mysql-server-core", series="9.7", programs=("usr/sbin/mysqld",)),
)
